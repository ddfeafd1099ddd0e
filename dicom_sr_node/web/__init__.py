"""The dashboard, the REST interface, and what monitoring asks: for people and programs that look in."""
