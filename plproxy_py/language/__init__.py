"""PL/Proxy's language: the function body and the CREATE FUNCTION around it."""
