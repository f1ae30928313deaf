//! The matrix, with one call of each site: every cell of the table of reach is hit, and meets the response that the fault
//! catalogue asks for.

use afterimage_sim::matrix::{self, Config};
use afterimage_sim::reach::{Reach, Response};

#[test]
fn each_thing_that_can_happen_at_each_site_has_happened() {
    let config = Config {
        calls: 1,
        workers: 2,
        only: None,
        keep_going: false,
    };
    let matrix = matrix::run(&config).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(matrix.reach.missing(), [""; 0], "{}", matrix.reach);
    assert!(matrix.errors > 1000 && matrix.crashes > 300, "{matrix}");
    let met = |wanted| {
        matrix
            .reach
            .cells()
            .any(|(_, _, cell)| cell.responses.contains_key(&wanted))
    };
    for response in [
        Response::Recover,
        Response::Unseen,
        Response::Abort,
        Response::Stop,
        Response::Refuse,
    ] {
        assert!(met(response), "{}", response.name());
    }
    // For the report: every cell of the universe has a line.
    let json = matrix.reach.json();
    assert_eq!(json.matches("\"what\":").count(), Reach::universe().len());
}
