"""Looking after feature stores: facts, staleness, features made elsewhere."""
