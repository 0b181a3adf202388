//! The generated part of docs/configuration.md.

use clap::{ArgAction, CommandFactory};

use super::Settings;

/// Compares docs/configuration.md with the settings. `UPDATE_DOCS=1` rewrites the page.
#[test]
fn configuration_page_describes_every_setting() {
    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    const BEGIN: &str = "<!-- generated from src/settings/mod.rs -->\n\n";
    const END: &str = "\n<!-- end of the generated part -->\n";
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}{}{END}{after}", table_of_settings());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, expected).unwrap();
    } else {
        assert!(
            page == expected,
            "docs/configuration.md is out of date; run \
             `UPDATE_DOCS=1 cargo test --lib configuration_page`"
        );
    }
}

fn table_of_settings() -> String {
    let mut table = "| variable | flag | value | default | meaning |\n".to_owned();
    table.push_str("| --- | --- | --- | --- | --- |\n");
    for setting in Settings::command().get_arguments() {
        let code = |text: &str| format!("`{text}`");
        let variable = setting.get_env().and_then(|name| name.to_str()).unwrap();
        let flag = format!("--{}", setting.get_long().unwrap());
        let choices = setting.get_possible_values();
        let choices: Vec<_> = choices.iter().map(|choice| code(choice.get_name())).collect();
        let value = match &*choices {
            // As a variable; the flag has no value.
            _ if matches!(setting.get_action(), ArgAction::SetTrue) => "`true`, `false`".into(),
            [] => setting.get_value_names().unwrap()[0].to_string(),
            choices => choices.join(", "),
        };
        let help = setting.get_long_help().or(setting.get_help()).unwrap().to_string();
        let (first, more) = help.split_once("\n\n").unwrap_or((&help, ""));
        let (first, described) = first.split_once(" [default: ").unwrap_or((first, "none]"));
        let default = match setting.get_default_values() {
            [default] => code(default.to_str().unwrap()),
            _ => described.strip_suffix(']').unwrap().to_owned(),
        };
        let meaning = format!("{first}. {}", more.replace("\n\n", " "));
        let meaning = meaning.trim_end();
        let (variable, flag) = (code(variable), code(&flag));
        table.push_str(&format!("| {variable} | {flag} | {value} | {default} | {meaning} |\n"));
    }
    table
}
