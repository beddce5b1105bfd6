package demo;

/** A business exception. */
public class Refused extends Exception {
  private static final long serialVersionUID = 1;

  public Refused(String message, Throwable cause) {
    super(message, cause);
  }
}
