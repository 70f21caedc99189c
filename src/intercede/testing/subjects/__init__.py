"""What is inspected: how it is named, found, made, entered, and asked in another process."""
