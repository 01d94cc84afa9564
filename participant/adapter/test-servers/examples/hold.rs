//! Starts a private MariaDB server, tells its process id and its URL, and ends it when its input ends.

use undoubt_test_servers::{MariaDb, ServerError};

#[tokio::main]
async fn main() -> Result<(), ServerError> {
    let server = MariaDb::start(&[]).await?;
    println!("{} {}", server.pid().unwrap_or_default(), server.url("mysql"));
    // Whatever ends it: a line, the end of the input, or a failure.
    let _ = std::io::stdin().read_line(&mut String::new());
    Ok(())
}
