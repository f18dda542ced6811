"""Message-driven algorithms, one module a paper."""
