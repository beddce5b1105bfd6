namespace java demo.gen
namespace py demo
namespace go demo
namespace js demo

exception Declared {
  1: i32 code
  2: string why
}

service Echo {
  string echo(1: string text)
  i64 add(1: i32 a, 2: i64 b)
  void nothing()
  string fails(1: string why) throws (1: Declared declared)
  string breaks()
  string slow(1: i32 ms)
  string big(1: i32 size)
  oneway void note(1: string text)
  i32 noted()
}

service Missing {
  string gone()
}
