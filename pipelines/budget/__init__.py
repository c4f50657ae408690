"""What a configuration costs, and what fits a memory budget."""
