"""What plugin authors and the tests of protokit use."""
