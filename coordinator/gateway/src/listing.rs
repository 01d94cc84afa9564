//! Lists of several coordinators' transactions as one.
//!
//! Each page has an equal share of each coordinator that has more, so all that is on theirs is on one of these. It is in their order within
//! what one coordinator has, and in no order among coordinators. The cursor is one of each: `ID` and a dash and how far its list was told, joined by
//! dots; what is missing was told whole.

use crate::gate::Asker;
use crate::json::Transactions;
use crate::problem::Problem;
use futures::future::join_all;
use undoubt_client::{Cursor, ListQuery, Listing};
use undoubt_platform::Reason;
use undoubt_vocabulary::CoordinatorId;

/// As many as are listed if the query does not say.
const DEFAULT_LIMIT: u32 = 100;

/// Returns what fits, of the coordinator of this name, or of all.
pub(crate) async fn list(
    asker: &Asker,
    coordinator: Option<&str>,
    query: ListQuery,
    after: Option<&str>,
) -> Result<Transactions, Problem> {
    if coordinator.is_some() || asker.coordinators().all().len() == 1 {
        let after = after.map(str::parse).transpose();
        let mut query = query;
        query.after = after.map_err(|bad| invalid(format!("after: {bad}")))?;
        return Ok(Transactions::from(&asker.of(coordinator)?.list(&query).await?));
    }
    let places = match after {
        None => asker.coordinators().ids()?.into_iter().map(|id| Place { id, after: None }).collect(),
        Some(text) => read(text)
            .ok_or_else(|| invalid(format!("after: {text:?} is no cursor of a list; leave it out to begin")))?,
    };
    let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit };
    let count = u32::try_from(places.len()).unwrap_or(u32::MAX).max(1);
    // With fewer rows than coordinators the first have their turn first.
    let asked = places.len().min(limit as usize);
    let (now, later) = places.split_at(asked);
    let pages = join_all(now.iter().map(async |place| {
        let mut query = query.clone().limit((limit / count).max(1));
        query.after = place.after.clone();
        Ok::<Listing, Problem>(asker.of(Some(&place.id.to_string()))?.list(&query).await?)
    }));
    let mut whole = Transactions { transactions: Vec::new(), more: false, cursor: None };
    let mut rest = Vec::new();
    for (place, page) in now.iter().zip(pages.await) {
        let page = page?;
        rest.extend(page.cursor.clone().map(|after| Place { id: place.id, after: Some(after) }));
        whole.transactions.extend(Transactions::from(&page).transactions);
    }
    rest.extend(later.iter().cloned());
    whole.more = !rest.is_empty();
    whole.cursor = whole.more.then(|| write(&rest));
    Ok(whole)
}

/// How far the list of one coordinator was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    id: CoordinatorId,
    after: Option<Cursor>,
}

fn write(places: &[Place]) -> String {
    let place =
        |place: &Place| format!("{}-{}", place.id, place.after.as_ref().map(ToString::to_string).unwrap_or_default());
    places.iter().map(place).collect::<Vec<_>>().join(".")
}

fn read(text: &str) -> Option<Vec<Place>> {
    let place = |text: &str| {
        let (id, after) = text.split_once('-')?;
        let after = if after.is_empty() { None } else { Some(after.parse().ok()?) };
        Some(Place { id: id.parse().ok()?, after })
    };
    text.split('.').map(place).collect()
}

fn invalid(why: String) -> Problem {
    Problem::new(Reason::InvalidRequest, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_what_is_none_is_refused() {
        let places = [(1, Some("0a")), (2, None)]
            .map(|(id, after)| Place { id: CoordinatorId([id; 16]), after: after.map(|text| text.parse().unwrap()) });
        assert_eq!(read(&write(&places)).as_deref(), Some(&places[..]));
        for none in ["", "zz", "01", "00-", "-", "0102."] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
