use super::*;
use proptest::prelude::*;

fn labels() -> impl Strategy<Value = Vec<Wanted>> {
    let column = prop_oneof![
        (1..4_u8).prop_map(|number| Column::Events(Host::Client(number))),
        (1..4_u8).prop_map(|number| Column::Messages(Host::Participant(number))),
        Just(Column::Margin)
    ];
    let label = (0..400_u64, 0..4_u32, column, any::<bool>()).prop_map(|(base, power, column, above)| Wanted {
        at_us: base * 10_u64.pow(power),
        column,
        place: match (column, above) {
            (Column::Messages(_), true) => Place::Above,
            (Column::Messages(_), false) => Place::Below,
            (Column::Events(_) | Column::Margin, _) => Place::Beside,
        },
    });
    proptest::collection::vec(label, 0..60)
}

fn scale(labels: &[Wanted]) -> Scale {
    Scale::new(&BTreeSet::new(), labels, 1_000_000)
}

proptest! {
    #[test]
    fn what_happens_later_is_lower_and_what_happens_between_is_between(labels in labels()) {
        let scale = scale(&labels);
        let moments: BTreeSet<u64> = labels.iter().map(|label| label.at_us).chain([0, 1_000_000]).collect();
        let moments: Vec<u64> = moments.into_iter().collect();
        for pair in moments.windows(2) {
            let middle = (pair[0] + pair[1]) / 2;
            prop_assert!(scale.y(pair[0]) < scale.y(pair[1]));
            prop_assert!(scale.y(pair[0]) <= scale.y(middle) && scale.y(middle) <= scale.y(pair[1]));
        }
    }

    #[test]
    fn labels_of_one_column_do_not_cover_each_other(labels in labels()) {
        let baselines = scale(&labels).place(&labels);
        let mut columns: BTreeMap<Column, Vec<i32>> = BTreeMap::new();
        for (label, baseline) in labels.iter().zip(baselines) {
            columns.entry(label.column).or_default().push(baseline);
        }
        for (column, mut baselines) in columns {
            baselines.sort();
            for pair in baselines.windows(2) {
                prop_assert!(pair[1] - pair[0] >= Scale::LINE - 1, "{column:?}: {pair:?}");
            }
        }
    }

    #[test]
    fn every_long_quiet_stretch_is_shortened_and_marked_and_no_other(labels in labels()) {
        let scale = scale(&labels);
        for pair in scale.knots.windows(2) {
            let ((from_us, top), (to_us, bottom)) = (pair[0], pair[1]);
            let found = scale.breaks().iter().find(|it| it.from_us == from_us);
            prop_assert_eq!(found.is_some(), to_us - from_us > Scale::QUIET_US);
            if let Some(found) = found {
                prop_assert_eq!(found.to_us, to_us);
                prop_assert!(top < found.mark && found.mark < bottom);
            }
        }
    }

    #[test]
    fn spans_on_one_track_do_not_meet(spans in proptest::collection::vec((0..50_u64, 0..5_u64), 0..20)) {
        let spans: Vec<(u64, u64)> = spans.into_iter().map(|(from, length)| (from, from + length)).collect();
        let tracks = tracks(&spans);
        for (at, (from, to)) in spans.iter().enumerate() {
            for (other, (begin, end)) in spans.iter().enumerate().skip(at + 1) {
                let meet = from <= end && begin <= to;
                let last = tracks[at] == Lane::MAX_TRACKS - 1;
                prop_assert!(!meet || tracks[at] != tracks[other] || last);
            }
        }
    }
}

#[test]
fn lanes_stand_next_to_each_other_clients_first() {
    let hosts = [
        (Host::Participant(2), 30),
        (Host::Participant(1), 0),
        (Host::Standby, 0),
        (Host::Coordinator, 0),
        (Host::Client(1), 2),
    ];
    let lanes = Lanes::new(&hosts.into_iter().collect());
    let order: Vec<String> = lanes.iter().map(|lane| lane.host.to_string()).collect();
    assert_eq!(order, ["client1", "coordinator", "standby", "p1", "p2"]);
    let mut right = Lanes::LEFT;
    for lane in lanes.iter() {
        assert!(right <= lane.left && lane.left < lane.line && lane.line < lane.right, "{lane:?}");
        assert!(lane.track(0) > lane.line, "{lane:?}");
        right = lane.right;
    }
    assert!(right < lanes.width());
}

#[test]
fn time_runs_evenly_where_nothing_needs_room() {
    let moments = BTreeSet::from([0, 10_000, 20_000, 5_020_000]);
    let scale = Scale::new(&moments, &[], 5_020_000);
    assert_eq!(scale.y(10_000) - scale.y(0), scale.y(20_000) - scale.y(10_000));
    assert_eq!(scale.breaks().len(), 1);
    assert!(scale.is_shortened(30_000, 4_000_000));
    assert!(!scale.is_shortened(5_000, 4_000_000));
    let ticks: Vec<u64> = scale.ticks().into_iter().map(|(moment, _)| moment).collect();
    assert_eq!(ticks, [0, 10_000, 20_000, 5_020_000]);
}
