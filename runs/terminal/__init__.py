"""Terminal of the commands: columns, progress, streams, folders that may be written, and interruption."""
