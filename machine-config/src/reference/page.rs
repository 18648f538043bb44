//! The page itself: sections, tables, and what stands around them.

use std::fmt::Write;

use super::mistakes::mistakes;
use super::sections::{Row, Section};
use crate::parse::{MAX_DEPTH, MAX_NODES};
use crate::pending::NOT_YET_IN_EFFECT;
use crate::refusal_code::RefusalCode;
use crate::semantics::{KUBELET_LABELS, PLACEHOLDER_SERIALS, RESERVED_SYSCTLS};
use crate::text::MAX_CONFIG_BYTES;

const EXAMPLE: &str = include_str!("../../examples/store.yaml");

const INTRODUCTION: &str = "\
<!-- Made from the code by `skerryctl config schema --markdown`. Do not edit: change the comments in machine-config/src/schema.rs. -->

# The machine configuration

One YAML file is the whole configuration of a machine. A device takes it only with the signature of its fleet's key, whoever brings
it. [The operator's guide](operator-guide.md) goes through writing, signing and applying one; this page lists every setting.

* [Settings](#settings), section by section
* [Names and values that are refused](#names-and-values-that-are-refused)
* [Not yet in effect](#not-yet-in-effect)
* [The signed file](#the-signed-file)
* [Why a configuration is refused](#why-a-configuration-is-refused)
* [A full example](#a-full-example)
";

const SETTINGS: &str = "
## Settings

In each table the keys that are required come first, the others follow by name. `[]` in a path stands for each item of a list, `[NAME]`
for each entry of a mapping whose names are yours to choose. Unknown keys, keys given twice and keys without a value are refused. A
number or a boolean has no quotes; text needs them only where YAML would read something else.

The last column says what a change costs on a running device. `skerryctl config diff OLD NEW` and `skerryctl apply --dry-run` list it
for a change that is about to be made.

| effect | what happens when the setting changes |
|---|---|
| live | it takes effect at once; nothing stops |
| restart NAME | the service is restarted, as soon as the configuration is accepted; containers go on running |
| reboot | the machine shuts down in order and starts again, as soon as the configuration is accepted |
| not yet in effect | accepted and reported, but this version does not act on it |

The first configuration of a device disturbs nothing: all of it is live.
";

/// The page.
pub(super) fn render(sections: &[Section]) -> String {
    let mut page = INTRODUCTION.to_owned();
    page += SETTINGS;
    for section in sections {
        add_section(&mut page, section);
    }
    add_refused_values(&mut page);
    add_pending(&mut page);
    add_signed_file(&mut page);
    add_refusals(&mut page);
    add_example(&mut page);
    page
}

/// A table; `|` in a cell does not end it.
fn add_table(page: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.into()).collect();
    *page += &line(&head);
    *page += &format!("|{}\n", "---|".repeat(head.len()));
    for cells in rows {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        *page += &line(&cells);
    }
}

fn add(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes any text");
}

fn add_section(page: &mut String, section: &Section) {
    let title = if section.path.is_empty() { "The top of the file".into() } else { format!("`{}`", section.path) };
    add(page, format_args!("\n### {title}\n\n{}\n\n", section.about));
    let cells = |row: &Row| {
        let Row { key, value, default, meaning, effect } = row;
        vec![format!("`{key}`"), value.clone(), default.clone(), meaning.clone(), effect.clone()]
    };
    add_table(page, &["key", "value", "default", "meaning", "when it changes"], section.rows.iter().map(cells));
}

fn add_refused_values(page: &mut String) {
    *page +=
        "\n## Names and values that are refused\n\nKernel parameters (`machine.sysctls`) that a configuration may not set:\n\n";
    let sysctl = |&(name, reason): &(&str, &str)| {
        let all = if name.ends_with('.') { "*" } else { "" };
        vec![format!("`{name}{all}`"), reason.into()]
    };
    add_table(page, &["name", "it"], RESERVED_SYSCTLS.iter().map(sysctl));
    add(
        page,
        format_args!(
            "\nNode labels (`k3s.nodeLabels`): below `kubernetes.io` and `k8s.io` a node may give itself only those of \
             `kubelet.kubernetes.io` and `node.kubernetes.io`, and {}.\n",
            code_list(&KUBELET_LABELS)
        ),
    );
    add(
        page,
        format_args!(
            "\nSerial numbers (`target.serial`) that name no device, in any case of letters: {}.\n",
            code_list(&PLACEHOLDER_SERIALS)
        ),
    );
}

fn code_list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn add_pending(page: &mut String) {
    *page += "\n## Not yet in effect\n\nThis version reads and checks these settings and does not act on them. A device that is given one takes \
              it, and says so in the\nanswer to `apply`; `skerryctl config validate` warns of it.\n\n";
    for path in NOT_YET_IN_EFFECT {
        add(page, format_args!("* `{path}`\n"));
    }
}

fn add_signed_file(page: &mut String) {
    add(
        page,
        format_args!(
            "
## The signed file

The document, a line `---`, and four lines that `skerryctl config sign` writes, to the last byte:

```yaml
---
kind: Signature
keyId: 9f3c5d0e7f9a2b4c
algorithm: ed25519
value: …
```

The signature is over the exact bytes above the `---`: a changed space breaks it. The file has at most {} KiB with its
signature, {MAX_NODES} values and {MAX_DEPTH} levels, Unix line ends, and no YAML anchors, aliases, merge keys, tags or directives.
",
            MAX_CONFIG_BYTES / 1024
        ),
    );
}

fn add_refusals(page: &mut String) {
    *page += "
## Why a configuration is refused

The checks run in this order; the first that fails names the refusal. The code is stable and meant for programs: `skerryctl -o json` shows
it as `refusal`, the API in the metadata key `x-skerry-error-code`.

";
    let refusal = |code: RefusalCode| vec![format!("`{code}`"), code.meaning().into(), code.remedy().into()];
    add_table(page, &["code", "what it means", "what to do"], RefusalCode::ALL.into_iter().map(refusal));
    *page += "\nBehind `schema` stands one of these mistakes; `skerryctl config validate` names it, with line, column and the line itself:\n\n";
    let mistake = |problem: crate::ParseProblem| vec![format!("`{}`", problem.code()), problem.to_string(), problem.hint()];
    add_table(page, &["code", "what is said, for example", "hint"], mistakes().into_iter().map(mistake));
}

fn add_example(page: &mut String) {
    add(page, format_args!("\n## A full example\n\n```yaml\n{EXAMPLE}```\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_in_a_cell_does_not_end_it() {
        let mut page = String::new();
        add_table(&mut page, &["a", "b"], [vec!["x|y".into(), "z".into()]].into_iter());
        assert_eq!(page, "| a | b |\n|---|---|\n| x\\|y | z |\n");
    }
}
