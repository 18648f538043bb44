//! Two stamped devices and their hub, from the first call to the removal.

use skerry_tests::field;
use skerry_tests::lab::Lab;

#[test]
fn two_stamped_devices_come_home_obey_their_fleet_and_one_is_removed() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let mut told = field::tell(&lab, |_, _| {});
    told.staying.device.pull_the_plug().expect("the first is powered off");
    told.removed.device.pull_the_plug().expect("the second is powered off");
    told.desk.done(&["hub", "audit"]).expect("the audit tells of it");
}
