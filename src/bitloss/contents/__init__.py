"""What files and folders hold, by their right names, wherever another thing is expected."""
