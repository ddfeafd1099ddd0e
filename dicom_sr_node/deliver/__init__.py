"""The SCU side: results on their way to where they are wanted."""
