"""`srnode verify`: a derived image held against its source, promise by promise."""
