package demo;

/** What a provider calls back. */
public interface Listener {
  String changed(String news);
}
