"""The researchers' pages about images, classifiers, runs and maps."""
