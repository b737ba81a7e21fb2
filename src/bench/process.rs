//! The program under test as a process of its own: started, pinned to cores, weighed and stopped.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The time in which the program must answer.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The time in which the program must end after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// The clock ticks in a second in which Linux counts the CPU time of a process (`USER_HZ`, on every platform).
const TICKS_PER_SECOND: f64 = 100.0;

/// The cores of this machine, divided between the load and the program under test.
#[derive(Debug, Clone)]
pub(super) struct Cores {
    pub(super) subject: Option<CpuSet>,
    pub(super) load: Option<CpuSet>,
    /// What the table says of it.
    pub(super) description: String,
}

impl Cores {
    /// Gives the program under test this many cores, and the load the others. Without enough cores, or where threads cannot
    /// be pinned, both use all of them.
    pub(super) fn divide(for_subject: usize) -> Self {
        let all = sched_getaffinity(None).unwrap_or_default();
        let own: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
        if for_subject == 0 || own.len() <= for_subject {
            let description = format!("not pinned, {} cores for both", own.len());
            return Self { subject: None, load: None, description };
        }
        let set = |cpus: &[usize]| {
            let mut set = CpuSet::new();
            for cpu in cpus {
                set.set(*cpu);
            }
            Some(set)
        };
        let (subject, load) = own.split_at(for_subject);
        let description = format!("{} of {} cores for the program, the others for the load", subject.len(), own.len());
        Self { subject: set(subject), load: set(load), description }
    }

    /// Moves every thread of this process to the cores of the load.
    pub(super) fn pin_load(&self) {
        let Some(load) = &self.load else { return };
        let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        for thread in threads {
            let id = thread.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            // A thread may have ended meanwhile.
            let _ = sched_setaffinity(id, load);
        }
    }
}

/// A running program, killed on drop.
#[derive(Debug)]
pub(super) struct Subject {
    process: Child,
    log: PathBuf,
    /// The address on which it listens.
    pub(super) address: SocketAddr,
    /// From its start to its first answer.
    pub(super) start_time: Duration,
}

impl Subject {
    /// Starts a program with these arguments and variables, in the directory `home` and on these cores, and waits for its first
    /// answer. It is to listen on the port in the variable `PORT`.
    pub(super) async fn start(
        program: &Path,
        arguments: &[&str],
        vars: &[(String, String)],
        home: &Path,
        cores: Option<&CpuSet>,
    ) -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = home.join("log");
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(vars.iter().cloned()).env("PORT", port.to_string()).current_dir(home);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let began = Instant::now();
        let process = spawn_on(command, cores)?;
        let mut subject = Self { process, log, address, start_time: Duration::ZERO };
        while !is_answering(address).await {
            if began.elapsed() > START_TIMEOUT || subject.process.try_wait()?.is_some() {
                bail!("the program does not answer:\n{}", fs::read_to_string(&subject.log).unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        subject.start_time = began.elapsed();
        Ok(subject)
    }

    /// The CPU time that it has used, user and system, in seconds. Counted in hundredths.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = self.read("stat")?;
        // The name of the program, in parentheses, may contain anything.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<f64>().ok()).context("no CPU time in /proc");
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }

    /// The memory that it holds in RAM, in KiB.
    pub(super) fn resident_kib(&self) -> anyhow::Result<f64> {
        self.read("status")?
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok())
            .context("no memory in /proc")
    }

    /// The lines of its log above INFO.
    pub(super) fn alerts(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).map(str::to_owned).collect()
    }

    fn read(&self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.process.id());
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}: the benchmark needs Linux"))
    }

    /// Asks the program to end, and waits for that.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let id = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).context("the process has no id")?;
        kill_process(id, Signal::TERM)?;
        let began = Instant::now();
        while self.process.try_wait()?.is_none() {
            if began.elapsed() > STOP_TIMEOUT {
                bail!("the program did not end within {} s", STOP_TIMEOUT.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a program on these cores: it inherits those of the thread that starts it.
fn spawn_on(command: &mut Command, cores: Option<&CpuSet>) -> anyhow::Result<Child> {
    let Some(cores) = cores else { return command.spawn().context("cannot start the program") };
    let own = sched_getaffinity(None)?;
    sched_setaffinity(None, cores)?;
    let spawned = command.spawn().context("cannot start the program");
    sched_setaffinity(None, &own)?;
    spawned
}

/// Whether `GET /` is answered.
async fn is_answering(address: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut first = [0; 12];
        stream.read_exact(&mut first).await?;
        std::io::Result::Ok(first)
    };
    asked.await.is_ok_and(|first| &first == b"HTTP/1.1 200")
}
