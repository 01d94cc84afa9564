use super::*;
use crate::workload::hot_customers::Hot;

fn bank(seed: u64) -> SmallBank {
    SmallBank::new(Customers::new(100, Hot::default()), seed)
}

fn draw(count: usize) -> Vec<Operation> {
    let bank = bank(3);
    (0..count).map(|_| bank.draw()).collect()
}

fn sum(step: &Step) -> i64 {
    step.deltas().map(|(_, delta)| delta).sum()
}

#[test]
fn the_mix_is_the_published_one() {
    let drawn = draw(20_000);
    for (r#type, percent) in MIX {
        let count = drawn.iter().filter(|operation| operation.name == r#type.as_str()).count() as u64;
        assert!(count.abs_diff(200 * percent) < 300, "{type:?}: {count}", r#type = r#type);
    }
    assert_eq!(MIX.iter().map(|(_, percent)| percent).sum::<u64>(), 100);
}

#[test]
fn one_seed_gives_one_sequence_and_another_seed_another() {
    assert_eq!(draw(100), draw(100));
    assert_eq!(bank(3).opening(), bank(3).opening());
    assert_ne!(bank(3).opening(), bank(4).opening());
}

#[test]
fn only_deposits_and_withdrawals_change_the_sum_in_their_first_step() {
    for operation in draw(2_000) {
        let expected: &[i64] = match operation.name {
            "deposit-checking" => &[DEPOSIT_CENTS],
            "transact-savings" => &[SAVINGS_CENTS, -SAVINGS_CENTS],
            _ => &[0],
        };
        assert!(expected.contains(&sum(&operation.step)), "{operation:?}");
    }
}

#[test]
fn amalgamating_moves_all_of_one_customer_to_the_checking_account_of_another() {
    let step = FollowUp::Amalgamate { from: 1, to: 2 }.step(70, -20);
    let deltas: Vec<_> = step.deltas().collect();
    assert_eq!(deltas, [(Account::savings(1), -70), (Account::checking(1), 20), (Account::checking(2), 50)]);
}

#[test]
fn a_check_that_is_not_covered_costs_a_penalty_and_depends_on_the_savings() {
    let check = FollowUp::WriteCheck { customer: 1 };
    assert_eq!(sum(&check.step(CHECK_CENTS, 0)), -CHECK_CENTS);
    assert_eq!(sum(&check.step(CHECK_CENTS - 1, 0)), -CHECK_CENTS - PENALTY_CENTS);
    let savings = check.step(70, 30).accesses()[0];
    assert_eq!((savings.account, savings.action), (Account::savings(1), Action::Replace { read: 70, new: 70 }));
}
