"""What runs inside the emulator's process, under its interpreter: nothing of Forebay is there."""
