"""What checks of several roles use: payloads, child programs, the processes of this machine."""
