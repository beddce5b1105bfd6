package demo;

/** A service that nobody exports. */
public interface Missing extends BoltService {}
