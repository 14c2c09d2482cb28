"""What an alert leaves on disk, and how anybody can tell that it was not touched since."""
