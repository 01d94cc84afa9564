//! A service that takes orders. The order goes into its own database by its own SQL, in its own session; what it takes from the stock is
//! at another participant: all of it or nothing, whoever crashes.
//!
//! Needs a coordinator with the participants `orders`, in front of the service's own database, and `stock`, which declares a procedure
//! `take` of an item and an amount; and in the service's database a table `orders (id text PRIMARY KEY, item text, amount bigint)` that
//! its role may write, and the participant's role granted to that.
//!
//! ```console
//! $ cargo run --package undoubt-enlist --example orders -- http://127.0.0.1:7400 postgresql://orders@127.0.0.1/shop undoubt
//! order-1 apple 3
//! order-1: committed
//! ```
//!
//! Each line that it reads is an order: ID ITEM AMOUNT. One that is given again, to a service that was started again too, is placed once.

use std::error::Error;
use std::io::BufRead as _;
use tokio_postgres::NoTls;
use undoubt_client::work::call::Call;
use undoubt_client::{Client, ClientOptions, Outcome, Transaction, TxId};
use undoubt_enlist::{EnlistError, Enlisted, Enlisting};

struct Service {
    coordinator: Client,
    database: tokio_postgres::Client,
    enlisting: Enlisting,
}

struct Order {
    id: TxId,
    item: String,
    amount: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [coordinator, database, role] = &arguments[..] else {
        return Err("give the coordinator's URL, the database's URL and the participant's role".into());
    };
    let mut service = Service::start(coordinator, database, role).await?;
    for line in std::io::stdin().lock().lines() {
        let order = Order::read(&line?)?;
        match service.place(&order).await {
            Ok(outcome) => println!("{}: {outcome}", order.id),
            Err(error) => println!("{}: give it again, {error}", order.id),
        }
    }
    Ok(())
}

impl Service {
    async fn start(coordinator: &str, database: &str, role: &str) -> Result<Service, Box<dyn Error>> {
        let coordinator = Client::connect_lazy(coordinator, ClientOptions::default())?;
        let (database, connection) = tokio_postgres::connect(database, NoTls).await?;
        tokio::spawn(connection);
        // An order waits for the locks of what is prepared no longer than this.
        database.batch_execute("SET lock_timeout = '2s'; SET statement_timeout = '10s'").await?;
        let id = coordinator.describe().await?.id.ok_or("the coordinator does not tell its id")?;
        Ok(Service { coordinator, database, enlisting: Enlisting::new(id).role(role) })
    }

    async fn place(&mut self, order: &Order) -> Result<Outcome, Box<dyn Error>> {
        let own = match self.enlist(order).await {
            Ok(own) => own,
            // Another life of the service has come as far with it. Submitting it finds out the rest.
            Err(EnlistError::Prepared { enlisted, .. } | EnlistError::Unclear { enlisted, .. }) => enlisted,
            Err(EnlistError::Committed { .. }) => return Ok(Outcome::Committed),
            Err(other) => return Err(other.into()),
        };
        let take = Call::new("take").arg("item", order.item.as_str()).arg("amount", order.amount);
        let transaction = Transaction::with_id(order.id.clone()).on("orders", own).on("stock", take);
        Ok(self.coordinator.submit(&transaction).await?.outcome)
    }

    async fn enlist(&mut self, order: &Order) -> Result<Enlisted, EnlistError> {
        let own = self.enlisting.begin(&mut self.database, &order.id).await?;
        let Order { id, item, amount } = order;
        own.execute("INSERT INTO orders VALUES ($1, $2, $3)", &[&id.to_string(), item, amount]).await?;
        own.prepare().await
    }
}

impl Order {
    fn read(line: &str) -> Result<Order, Box<dyn Error>> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [id, item, amount] = words[..] else { return Err(format!("{line:?} is no order: ID ITEM AMOUNT").into()) };
        Ok(Order { id: id.parse()?, item: item.to_owned(), amount: amount.parse()? })
    }
}
