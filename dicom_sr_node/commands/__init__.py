"""The commands of `srnode`, one file for each subject. Nothing heavy is imported before a command needs it."""
