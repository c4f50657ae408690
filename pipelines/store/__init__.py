"""Care of feature stores: facts, verification, staleness, import and export of features."""
