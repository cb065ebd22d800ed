"""Cross-products, factorization, profiled deviance and its optimization."""
