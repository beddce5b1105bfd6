"""The data plane: workers, the Snapshots they run, filters."""
