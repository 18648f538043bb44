//! Rules: which pending devices are admitted, refused or quarantined without a person. A rule never overrules a person: refused, quarantined and
//! removed devices stay so.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::label::{Label, Labels};
use super::listed::words;
use super::time::Time;

/// What a rule looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RuleKind {
    /// The device is the one of an imported manifest, record or claim, and no other device has taken that place.
    Manifest,
    /// Its serial number is one of these.
    Serials(Vec<String>),
    /// It has this label, from its token or its manifest.
    Label(Label),
}

/// What becomes of a device that a rule fits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RuleOutcome {
    /// It is admitted.
    #[default]
    Admit,
    /// It is refused, until a person approves it.
    Refuse,
    /// It is quarantined, until a person approves it.
    Quarantine,
}

words!(RuleOutcome { Admit => "admit", Refuse => "refuse", Quarantine => "quarantine" });

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Names it in the audit.
    pub name: String,
    /// What it looks at.
    pub kind: RuleKind,
    /// What becomes of a device that it fits.
    pub outcome: RuleOutcome,
    /// Admit also devices that showed no join token. Serial numbers stand on the box and MAC addresses on the wire: without a token whoever knows
    /// them can be admitted in the device's place. Devices with a key made beforehand are known by that and need none.
    pub without_token: bool,
    /// Labels that an admitted device gets.
    pub labels: Labels,
    /// Groups that an admitted device gets.
    pub groups: Vec<String>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Time,
}
