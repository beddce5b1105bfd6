package demo;

/** An exception that the service declares. */
public class Refused extends Exception {
  private static final long serialVersionUID = 1L;

  public Refused(String message) { super(message); }
}
