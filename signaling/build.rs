//! Tells cargo that the viewer's folder is part of the program: without it a new file there would
//! not be noticed.

fn main() {
    println!("cargo::rerun-if-changed=viewer");
}
