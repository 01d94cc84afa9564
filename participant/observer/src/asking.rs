//! Participants are asked how their subscriptions stand.

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;
use tonic::Status;
use undoubt_participant::subscription::DialSources;
use undoubt_proto::v1;
use undoubt_stream::inbox::Watermark;
use undoubt_stream::observer::{Survey, Surveyed};
use undoubt_vocabulary::{EventId, Incarnation, ParticipantName, Position, SubscriptionName, Timestamp};

/// One call to a participant, with connecting.
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Participants that are asked at a time.
pub(crate) const MAX_ASKED_AT_ONCE: usize = 8;

/// Subscriptions with one source that does not take a subscription further tell this.
const STOPPED: &str = "stopped";

/// Asks participants.
pub trait Ask: Send + Sync + 'static {
    /// Asks a participant how its subscriptions stand. Each call has its deadline.
    fn ask(&self, of: &ParticipantName, asked_at: Timestamp) -> BoxFuture<'static, Result<Survey, Status>>;
}

/// Asks over the network.
#[derive(Debug)]
pub struct DialAsk(pub DialSources);

impl Ask for DialAsk {
    fn ask(&self, of: &ParticipantName, asked_at: Timestamp) -> BoxFuture<'static, Result<Survey, Status>> {
        let connecting = self.0.connect(of);
        async move {
            let mut client = in_time(connecting).await?;
            let before = in_time(client.describe_log(v1::DescribeLogRequest {})).await?.into_inner();
            let listed = in_time(client.list_subscriptions(v1::ListSubscriptionsRequest {})).await?.into_inner();
            let mut subscriptions: BTreeMap<SubscriptionName, Surveyed> = BTreeMap::new();
            for subscription in listed.subscriptions {
                let name: SubscriptionName = subscription.name.parse().map_err(unreadable)?;
                let surveyed = subscriptions.entry(name).or_default();
                note_source(surveyed, subscription)?;
            }
            for (name, surveyed) in &mut subscriptions {
                let request = v1::ListParkedRequest { subscription: name.as_str().to_owned() };
                let parked = in_time(client.list_parked(request)).await?.into_inner();
                note_parked(surveyed, parked)?;
            }
            let after = in_time(client.describe_log(v1::DescribeLogRequest {})).await?.into_inner();
            if before.incarnation != after.incarnation {
                return Err(Status::unavailable("it was started anew meanwhile; it is asked again"));
            }
            Ok(Survey { asked_at, subscriptions, log: Position(after.stable) })
        }
        .boxed()
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = |_| Status::deadline_exceeded(format!("it does not answer within {ASK_TIMEOUT:?}"));
    timeout(ASK_TIMEOUT, call).await.map_err(late)?
}

fn unreadable(cause: impl std::fmt::Display) -> Status {
    Status::internal(format!("what it says of its subscriptions cannot be read: {cause}"))
}

fn note_source(surveyed: &mut Surveyed, subscription: v1::Subscription) -> Result<(), Status> {
    let v1::Subscription { source, standing, why, through, incarnation, .. } = subscription;
    let source: ParticipantName = source.parse().map_err(unreadable)?;
    if !why.is_empty() {
        surveyed.held_up.insert(source.clone(), format!("its subscription is {standing}: {why}"));
    }
    // What a log has that was put back is not what the subscription has dealt with.
    if standing != STOPPED {
        surveyed.through.insert(source, watermark(&incarnation, through)?);
    }
    Ok(())
}

fn watermark(incarnation: &Bytes, position: u64) -> Result<Watermark, Status> {
    if incarnation.is_empty() {
        return Ok(Watermark(None));
    }
    let incarnation = Incarnation::try_from(&incarnation[..]).map_err(unreadable)?;
    Ok(EventId { incarnation, position: Position(position) }.into())
}

fn note_parked(surveyed: &mut Surveyed, listed: v1::ListParkedResponse) -> Result<(), Status> {
    let v1::ListParkedResponse { events, more, given_up, more_given_up } = listed;
    surveyed.is_cut = more || more_given_up;
    let id = |event: &v1::ParkedEvent| {
        let id = event.id.clone().ok_or_else(|| unreadable("an event without an id"))?;
        EventId::try_from(id).map_err(unreadable)
    };
    for event in events {
        let refusal = event.refusal.as_ref().map(|refusal| refusal.detail.clone());
        surveyed.parked.insert(id(&event)?, refusal);
    }
    for event in given_up {
        surveyed.given_up.insert(id(&event)?);
    }
    Ok(())
}
