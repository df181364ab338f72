"""The local cloud: an AWS emulator in its own environment, with the same CDK app deployed to it."""
