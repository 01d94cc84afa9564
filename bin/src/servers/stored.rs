//! A participant that has a store in its data folder, whatever resource stands on it.

use super::participant::{Frame, kind_of};
use crate::process::{Failed, Failure, OrFailed as _, Place, Ran, StoreKind, serve_on};
use std::sync::Arc;
use undoubt_participant::event_log::OpenError;
use undoubt_participant::resource::Branches;
use undoubt_participant::run;
use undoubt_participant::table::META;
use undoubt_platform::identity::establish;
use undoubt_platform::numbered_store::Known;
use undoubt_platform::{Family, IdentityError, Kind, NumberedStore, OsRandom, Random};
use undoubt_vocabulary::Incarnation;

/// Returns a new incarnation of a log of events.
pub fn drawn() -> Incarnation {
    let mut incarnation = [0; 16];
    OsRandom::new().fill(&mut incarnation);
    Incarnation(incarnation)
}

/// Returns the failure of a log of events that cannot be opened.
pub fn not_opened(error: OpenError) -> Failed {
    let failure = match &error {
        OpenError::Resource(_) => Failure::Storage,
        OpenError::Twice { .. } | OpenError::TooMany { .. } | OpenError::OtherPartitions { .. } => {
            Failure::Configuration
        }
    };
    Failed::new(failure, error)
}

/// Serves until it is asked to end, again on the same store whenever its device was full. `resource` makes the resource over the store,
/// which has these families.
pub async fn serve<R: Branches>(
    frame: &Frame,
    families: &[Family],
    resource: impl Fn(NumberedStore, Known) -> Result<R, Failed>,
) -> Result<(), Failed> {
    let (config, shutdown) = (&frame.config, &frame.shutdown);
    let kind = StoreKind::chosen(&config.store).or_failed(Failure::Configuration)?;
    let place = Place { kind, data_dir: &config.data_dir, families, checks_folder: config.folder_sign };
    serve_on(place, config.min_free_bytes, shutdown, async |opened| {
        let store = opened.store();
        let metrics = opened.figures(&frame.board, config.min_free_bytes);
        let mut fresh_id = [0; 16];
        OsRandom::new().fill(&mut fresh_id);
        // A mark of 0 would say that it is not known.
        let mark = OsRandom::new().u64().max(1);
        let begun = async {
            let identity = establish(store.as_ref(), META, Kind::Participant, &config.name, fresh_id).await?;
            let (numbered, mut known) = NumberedStore::begin(store.clone(), META, identity.id, 0, mark).await?;
            numbered.note_folder_sign(&mut known, opened.folder_sign()).await?;
            Ok::<_, IdentityError>((numbered, known))
        };
        // A store that cannot be written now may keep it waiting.
        let begun = tokio::select! {
            begun = begun => begun,
            () = shutdown.clone().asked() => return Ok(Ran::Ended),
        };
        let (numbered, known) = match begun {
            Ok(begun) => begun,
            Err(error) => return opened.ran(Err(error), Failure::of_identity),
        };
        let resource = Arc::new(resource(numbered, known)?);
        let environment = frame.environment(metrics).await?;
        let ended = run(config.clone(), resource, environment, shutdown.clone().asked()).await;
        opened.ran(ended, kind_of)
    })
    .await
}
