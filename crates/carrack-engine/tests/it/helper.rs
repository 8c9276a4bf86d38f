//! The program that the tests start as the sandbox's helper.

fn main() {
    carrack_sandbox::run_init_if_asked();
}
