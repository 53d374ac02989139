"""What of a PL/Proxy database can move, and whether keys still go where they went."""
