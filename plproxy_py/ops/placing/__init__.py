"""Where rows lie and where they belong: what `balance` and `audit` both ask."""
