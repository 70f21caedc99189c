"""The plugins that are checked: how a subject is named, found, made, entered, and used in a child process."""
