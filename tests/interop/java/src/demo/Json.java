package demo;

import java.util.Map;
import java.util.StringJoiner;

/** Values as ASCII JSON: maps, lists, numbers, booleans, null; anything else as its text. */
final class Json {
  private Json() {}

  static String of(Object value) {
    if (value == null || value instanceof Number || value instanceof Boolean) return String.valueOf(value);
    if (value instanceof Map) {
      StringJoiner out = new StringJoiner(", ", "{", "}");
      ((Map<?, ?>) value).forEach((k, v) -> out.add(text(String.valueOf(k)) + ": " + of(v)));
      return out.toString();
    }
    if (value instanceof Iterable) {
      StringJoiner out = new StringJoiner(", ", "[", "]");
      ((Iterable<?>) value).forEach(v -> out.add(of(v)));
      return out.toString();
    }
    return text(String.valueOf(value));
  }

  private static String text(String value) {
    StringBuilder out = new StringBuilder("\"");
    for (char c : value.toCharArray()) {
      out.append(c < 32 || c > 126 || c == '\\' || c == '"' ? String.format("\\u%04x", (int) c) : c);
    }
    return out.append('"').toString();
  }
}
