//! The example, as a test: it asserts that every point is classified.

#[path = "../../examples/moons.rs"]
mod example;

#[test]
fn the_example_trains() {
    example::main();
}
