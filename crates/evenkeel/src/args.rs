//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use evenkeel_model::ActionName;

/// Watches a Kubernetes cluster, works out what broke, and repairs it within what you allowed.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the observer: sees, and publishes signals (reads the cluster, writes nothing)
    Observe(PlaneArgs),
    /// Run the reasoner: folds signals into incidents and proposes actions (no cluster credential)
    Reason(PlaneArgs),
    /// Run the gateway: checks proposals and carries out what policies allow (the only writer)
    Gate(PlaneArgs),
    /// Run all three planes in one process, for trying things out; needs --dev
    All(PlaneArgs),
    /// Check playbooks and policies
    ///
    /// Prints `file:line:col: message` for each finding. Exits with 0 when there is none, 1 when
    /// there are findings, 2 when the arguments are of no use.
    Check(CheckArgs),
    /// Put recorded signals through playbooks and policies, and through changed ones beside them
    ///
    /// Tells which incidents come to something else, and why: how a change is reviewed before it is
    /// merged. Nothing is asked of a cluster, and no fact is recorded: what is assumed instead is
    /// printed with the result.
    ///
    /// Exits with 0; with 1 when the recording can't be read, or has bad lines and --strict is given;
    /// with 2 when the playbooks or policies are of no use; with 3 when incidents come to something
    /// else and --exit-code is given.
    Backtest(BacktestArgs),
    /// Tell how far the road from Audit to Enforce is
    ///
    /// Per playbook: what it would have done, what healed by itself and after how long, what did not
    /// help or came again; signals that no playbook is for, and playbooks that match nothing.
    Report(ReportArgs),
    /// See it work: a simulated shop breaks in four ways, the real engine on it
    ///
    /// Needs no cluster, no NATS and no network. Once it asks you: what keeps data is repaired when somebody says yes.
    Demo(DemoArgs),
    /// Run scenarios: a simulated cluster, the real engine on it, virtual time
    ///
    /// Exits with 0 when everything came as expected, 1 when something did not, 2 when the arguments
    /// or the scenarios are of no use.
    Simulate(SimulateArgs),
    /// List incidents, remediations, breakers, signals, playbooks or policies
    #[command(subcommand)]
    Get(Get),
    /// Tell the story of one object
    #[command(subcommand)]
    Describe(Describe),
    /// Approve what a remediation asks people for, under the identity of your kubeconfig
    ///
    /// Prints what is signed, and says what the gateway makes of it. Needs the right to create approvals
    /// in the engine's namespace, and to approve the tier in the target's (docs/approvals.md).
    Approve(DecideArgs),
    /// Deny what a remediation asks people for; one is enough
    Deny(DecideArgs),
    /// Check, show or copy the audit log, or make its key
    #[command(subcommand)]
    Audit(Audit),
    /// Let nothing new be done, here or everywhere, until it is thawed
    ///
    /// Makes a Freeze that gateways read before everything they change. What did not help is still
    /// taken back, unless --all is given.
    Freeze(crate::freeze::FreezeArgs),
    /// End a freeze
    Thaw(crate::freeze::ThawArgs),
    /// Carry out a step of a playbook now, through the same gate as any other
    ///
    /// The policies have to allow persons (origins: [Person]), the target has to need it, and it is verified
    /// as ever. Exits with 1 when the gateway refuses it.
    Run(crate::ask::RunArgs),
    /// Take back a remediation of which nothing has been sent yet
    Cancel(crate::ask::OfArgs),
    /// Say that you have looked at a remediation that ended Unknown or RollbackFailed; its root is free then
    Ack(crate::ask::OfArgs),
    /// Close breakers: what did not help until now does not count any more
    Rearm(crate::ask::RearmArgs),
    /// Ask the policies, and make of them what the API server enforces
    #[command(subcommand)]
    Policy(Policy),
    /// Prepare the bus, or look at it
    #[command(subcommand)]
    Bus(Bus),
    /// Print the custom resource definitions as YAML
    Crds,
    /// Print the least RBAC each plane needs as YAML
    Rbac(RbacArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a generated page of the documentation, or write all of them
    #[command(hide = true)]
    Docs(DocsArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PlaneArgs {
    /// The configuration file; every key of it can also be set as EVENKEEL_SECTION_KEY
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Allow what promises nothing: the bus in memory, all planes in one process, webhooks without
    /// authentication
    #[arg(long)]
    pub(crate) dev: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CheckArgs {
    /// Files, or directories whose .yaml and .yml files are checked
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BacktestArgs {
    /// The recording: signals (`evenkeel get signals -o jsonl`), Alertmanager's webhook payloads one
    /// a line, its /api/v2/alerts, or a range query for ALERTS from Prometheus; gzip or plain; - is
    /// stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) signals: PathBuf,
    /// Today's playbooks: a file, or a directory [default: playbooks]
    #[arg(long, value_name = "PATH")]
    pub(crate) playbooks: Option<PathBuf>,
    /// Today's policies: a file, or a directory [default: policies]
    #[arg(long, value_name = "PATH")]
    pub(crate) policies: Option<PathBuf>,
    /// Changed playbooks to compare with
    #[arg(long, value_name = "PATH")]
    pub(crate) against_playbooks: Option<PathBuf>,
    /// Changed policies to compare with
    #[arg(long, value_name = "PATH")]
    pub(crate) against_policies: Option<PathBuf>,
    /// What is taken for the facts that playbooks ask of the cluster: facts-hold (all conditions
    /// hold) or unknown (an incident ends at the question)
    #[arg(long, value_name = "WHAT", default_value = "facts-hold", value_parser = crate::backtest::parse_assume)]
    pub(crate) assume: evenkeel_scenarios::backtest::Assume,
    /// By how much signals may be out of order
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub(crate) disorder: evenkeel_model::Span,
    /// Fail when a line can't be read
    #[arg(long)]
    pub(crate) strict: bool,
    /// Exit with 3 when incidents come to something else
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// One JSON document
    #[arg(long, conflicts_with = "markdown")]
    pub(crate) json: bool,
    /// Markdown, for a comment on a pull request
    #[arg(long)]
    pub(crate) markdown: bool,
    /// The configuration file, for protected namespaces, exporters and the planner's patience;
    /// without one, defaults and EVENKEEL_… variables
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BacktestFormat {
    Text,
    Markdown,
    Json,
}

impl BacktestArgs {
    pub(crate) fn format(&self) -> BacktestFormat {
        match (self.json, self.markdown) {
            (true, _) => BacktestFormat::Json,
            (false, true) => BacktestFormat::Markdown,
            (false, false) => BacktestFormat::Text,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// How far back, such as 24h or 7d
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub(crate) since: evenkeel_model::Span,
    /// One JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a self-contained HTML page, too
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DemoArgs {
    /// Don't wait for the reader
    #[arg(long)]
    pub(crate) fast: bool,
    /// Approve what the viewer is asked, without asking; so it is, too, where there is no terminal
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Another course of chance
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SimulateArgs {
    /// Scenarios, or directories of them
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// The first seed; 0 leaves every event at the time the scenario says
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
    /// How many seeds, from the first on; each varies chance and timing
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) runs: u64,
    /// Playbooks, a file or a directory, instead of those that the scenarios use
    #[arg(long, value_name = "PATH")]
    pub(crate) playbooks: Option<PathBuf>,
    /// Policies, a file or a directory, instead of those that the scenarios use
    #[arg(long, value_name = "PATH")]
    pub(crate) policies: Option<PathBuf>,
    /// Add random trouble: dying processes, the bus away, API errors, duplicates, clock skew
    #[arg(long)]
    pub(crate) engine_faults: bool,
    /// Run each scenario with three gateways, and again and again, so that one of them dies at each call it makes for
    /// a Remediation: before it is sent, after it was carried out, or with the answer lost
    #[arg(long, conflicts_with_all = ["engine_faults", "json", "trace", "report"])]
    pub(crate) gateway_deaths: bool,
    /// One JSON document: all there is to know of each run, as docs/simulations.md says
    #[arg(long)]
    pub(crate) json: bool,
    /// Print what happened, a line each
    #[arg(long, conflicts_with = "json")]
    pub(crate) trace: bool,
    /// Write a self-contained HTML page with a picture of each run
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// Where people's commands find the cluster and the bus.
#[derive(Debug, ClapArgs)]
pub(crate) struct ClientArgs {
    /// The configuration file; without one, defaults and EVENKEEL_… variables
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The engine's namespace, instead of the configured one
    #[arg(long, short, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON array
    Json,
    /// One JSON object a line
    Jsonl,
    /// One YAML list
    Yaml,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// How to write it
    #[arg(long, short, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Get {
    /// What is wrong, as the reasoner sees it (from the bus)
    #[command(visible_alias = "incident")]
    Incidents {
        #[command(flatten)]
        get: GetArgs,
        /// Closed ones as well
        #[arg(long, short)]
        all: bool,
    },
    /// What is or was done about it (from the API server)
    #[command(visible_aliases = ["remediation", "rem"])]
    Remediations {
        #[command(flatten)]
        get: GetArgs,
    },
    /// What is not done automatically any more, since it did not help (from the API server)
    #[command(visible_alias = "breaker")]
    Breakers {
        #[command(flatten)]
        get: GetArgs,
    },
    /// What was seen (from the bus); with -o jsonl, what a backtest reads
    #[command(visible_alias = "signal")]
    Signals {
        #[command(flatten)]
        get: GetArgs,
        /// Only those stored in this time, such as 30m, 24h or 7d
        #[arg(long, value_name = "TIME")]
        since: Option<evenkeel_model::Span>,
    },
    /// The cluster's playbooks, and why one is not used (from the API server)
    #[command(visible_aliases = ["playbook", "pb"])]
    Playbooks {
        #[command(flatten)]
        get: GetArgs,
    },
    /// The cluster's action policies, and why one denies instead (from the API server)
    #[command(visible_aliases = ["policy", "ap"])]
    Policies {
        #[command(flatten)]
        get: GetArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Describe {
    /// One remediation: seen, concluded, allowed, changed, verified, ended
    #[command(visible_alias = "rem")]
    Remediation {
        /// Its name
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DecideArgs {
    /// The remediation's name
    pub(crate) name: String,
    /// Why, for the record; at most 1024 characters
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) reason: String,
    /// What was read: the digest that `evenkeel describe remediation` shows, or its first 8 digits or more
    ///
    /// When something else is asked by now, nothing is signed. Without it the change is shown, and whether to sign it
    /// is asked at the terminal. Where there is none, approving needs it.
    #[arg(long, value_name = "PREFIX", value_parser = parse_digest)]
    pub(crate) digest: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// So much of a digest that nobody meets it by chance.
const SHORTEST_DIGEST: usize = 8;

fn parse_digest(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('…').to_ascii_lowercase();
    let is_digest = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest && (SHORTEST_DIGEST..=64).contains(&text.len()) {
        return Ok(text);
    }
    Err(format!("expected {SHORTEST_DIGEST} to 64 hexadecimal digits, found {text:?}"))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Say what policies come to, which rules spoke, and what would have to change for another verdict
    ///
    /// Asks about a proposal made up with options or in a file, or about a recorded one: a Remediation or
    /// Proposal in a file, or a Remediation of the cluster. What a record does not hold of the object
    /// (its labels, how many pods are available) is as the options say. Exits with 2 when policies or
    /// question are of no use.
    Explain(Box<ExplainArgs>),
    /// Print the RBAC of all planes, with the gateway's right to write made from the policies, as YAML
    Rbac(PolicyArgs),
    /// Print the admission policies as YAML: for the gateway, for who approves, for what people ask, and for what the
    /// gateway alone writes
    Admission {
        #[command(flatten)]
        policies: PolicyArgs,
        /// Refuse nothing of what the gateway does: warn, and note it in the API server's audit log
        #[arg(long)]
        audit: bool,
        /// The one for the gateway alone, for another policy engine, which reports first and refuses nothing
        #[arg(long = "for", value_enum, value_name = "ENGINE", conflicts_with = "audit")]
        engine: Option<Engine>,
        /// Only those over evenkeel's own objects, which don't depend on policies
        #[arg(long, conflicts_with_all = ["policies", "audit", "engine"])]
        own: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PolicyArgs {
    /// A file, or a directory [default: policies]
    #[arg(long, value_name = "PATH")]
    pub(crate) policies: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExplainArgs {
    /// What is asked, as YAML or JSON: `do`, `target` and any of the options below, or a Remediation,
    /// or a Proposal; - is stdin
    #[arg(value_name = "FILE", conflicts_with_all = ["remediation", "action"])]
    pub(crate) file: Option<PathBuf>,
    /// A Remediation of the cluster, with the cluster's policies unless --policies is given
    #[arg(long, value_name = "NAME", conflicts_with = "action")]
    pub(crate) remediation: Option<String>,
    /// What is to be done, such as rollbackWorkload
    #[arg(long = "do", value_name = "ACTION", value_parser = parse_action, requires = "target")]
    pub(crate) action: Option<ActionName>,
    /// To what, such as deployment/shop/cart or node/worker-1
    #[arg(long, value_name = "OBJECT")]
    pub(crate) target: Option<evenkeel_model::ObjectRef>,
    /// For scaleWorkload: replicas to set
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<u32>,
    /// Who asks
    #[arg(long, value_enum, value_name = "WHO")]
    pub(crate) origin: Option<Asker>,
    /// When, as RFC 3339 [default: now; for a record, when it was proposed]
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<chrono::DateTime<chrono::Utc>>,
    /// A label of the object; more than once for several
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Replicas it has now
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u32>,
    /// Pods of it that are available now
    #[arg(long, value_name = "N")]
    pub(crate) available: Option<u32>,
    /// Available pods that the action takes away
    #[arg(long, value_name = "N")]
    pub(crate) takes: Option<u32>,
    /// Disruptions that the PodDisruptionBudget over its pods allows now
    #[arg(long, value_name = "N")]
    pub(crate) budget: Option<u32>,
    /// It keeps data in volume claims
    #[arg(long)]
    pub(crate) stateful: bool,
    /// A GitOps tool tracks it, and sets what the action writes (owned) or does not (free)
    #[arg(long, value_enum, value_name = "FIELDS")]
    pub(crate) git_ops: Option<Fields>,
    /// What evenkeel.dev/mode on the object or its namespace says
    #[arg(long, value_name = "MODE")]
    pub(crate) annotated: Option<String>,
    /// The installation's mode [default: Enforce, so that the policies speak]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) mode: Option<Installation>,
    /// One JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) policies: PolicyArgs,
}

/// What judges requests beside the API server's own admission policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Kyverno 1.17 or later: a ValidatingPolicy
    Kyverno,
    /// Gatekeeper 3.18 or later: a ConstraintTemplate in CEL, and its constraint
    Gatekeeper,
}

/// Who asks for an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Asker {
    /// A playbook
    Playbook,
    /// A person
    Person,
}

/// Fields that an action writes of an object that a GitOps tool tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fields {
    /// The tool does not set them
    Free,
    /// The tool sets them
    Owned,
}

/// The installation's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Installation {
    /// Audit
    Audit,
    /// Enforce
    Enforce,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bus {
    /// Create streams, consumers and buckets; changes nothing that is as it should be
    Init {
        #[command(flatten)]
        client: BusArgs,
    },
    /// Show what the bus holds
    Status {
        #[command(flatten)]
        client: BusArgs,
        /// How to write it
        #[arg(long, short, value_enum, default_value_t, value_name = "FORMAT")]
        output: Format,
    },
    /// Print the permissions of each plane's NATS user
    Permissions {
        #[command(flatten)]
        client: BusArgs,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BusArgs {
    /// The configuration file; without one, defaults and EVENKEEL_… variables
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Where the audit log is, and what verifies it.
#[derive(Debug, ClapArgs)]
pub(crate) struct AuditLog {
    /// A directory, or file:///DIR, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX;
    /// without it, the configured one
    #[arg(value_name = "PLACE")]
    pub(crate) place: Option<String>,
    /// The log's public key, or a file with it; without it, that of the configured key file
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// The configuration file; without one, defaults and EVENKEEL_… variables
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Check a log, or a copy of one, with its public key alone
    ///
    /// Finds records that were changed, removed, added or moved, an end that was cut off, and a past
    /// that was rewritten; the last two only with a checkpoint kept elsewhere (for a cut, a number of
    /// records will do). Exits with 0 when the log is whole, 1 when it is not, 2 when it can't be read.
    Verify {
        #[command(flatten)]
        log: AuditLog,
        /// A checkpoint of this log that was kept elsewhere; may be given again
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
        /// How many records the log is known to have, at least
        #[arg(long, value_name = "RECORDS", default_value_t = 0, hide_default_value = true)]
        at_least: u64,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show the records (does not check them)
    Show {
        #[command(flatten)]
        log: AuditLog,
        /// Only those of one remediation
        #[arg(long, value_name = "NAME")]
        remediation: Option<String>,
        /// Only the newest checkpoint, to be kept elsewhere
        #[arg(long, conflicts_with_all = ["remediation", "output"])]
        checkpoint: bool,
        /// How to write it
        #[arg(long, short, value_enum, default_value_t, value_name = "FORMAT")]
        output: Format,
    },
    /// Copy a log into a directory
    Export {
        #[command(flatten)]
        log: AuditLog,
        /// Where to; it must be empty or not there
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Make a signing key, write it to a file and print its public key
    Key {
        /// The log's name, which stands in its checkpoints, such as audit.prod.example.org
        #[arg(long, value_name = "NAME")]
        name: String,
        /// The file; it must not be there
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RbacArgs {
    /// The engine's namespace
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: String,
    /// The actions the gateway may carry out; all when absent
    #[arg(long, value_name = "ACTION", value_delimiter = ',', value_parser = parse_action)]
    pub(crate) actions: Option<Vec<ActionName>>,
}

fn parse_action(text: &str) -> Result<ActionName, String> {
    ActionName::ALL.into_iter().find(|action| action.as_str() == text).ok_or_else(|| {
        let all: Vec<&str> = ActionName::ALL.into_iter().map(ActionName::as_str).collect();
        format!("expected one of {}", all.join(", "))
    })
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DocsArgs {
    /// The page to print
    #[arg(value_enum, required_unless_present = "dir")]
    pub(crate) page: Option<Page>,
    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "page")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    /// Every key of the configuration
    Configuration,
    /// Every subcommand
    Cli,
    /// Every fact that conditions can compare
    Facts,
    /// JSON Schema of a playbook, for editors
    PlaybookSchema,
    /// JSON Schema of a simulation, for editors
    SimulationSchema,
}
