package demo;

/** Nobody offers it. */
public interface Missing {
  String hello(String name);
}
