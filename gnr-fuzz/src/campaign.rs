//! A campaign against one parser: its valid inputs, its corpus, its damaged inputs, and the limits of every reading.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use peak_alloc::PeakAlloc;

use crate::corpus::{self, Entry};
use crate::damage::{bomb, damage};
use crate::limits::Limits;
use crate::outcome::outcome;
use crate::random::Random;

/// The outcome of an input that is accepted.
const ACCEPTED: &str = "accepted";
/// Number of damaged inputs of a campaign, unless `GNR_FUZZ_EXECUTIONS` sets another number.
const USUAL: u64 = 3000;
/// Largest number of outcomes that are kept. A parser with more outcomes quotes its input in a way that [`outcome`]
/// does not recognise.
const MOST_OUTCOMES: usize = 300;

/// The lock of [`alone`]. Memory is counted for the whole process, so campaigns run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Waits until no other campaign of this process is running. None begins while the returned guard lives.
///
/// [`Campaign::run`] waits for this guard itself, so a thread that holds one must not call it.
pub fn alone() -> MutexGuard<'static, ()> {
    // A campaign that fails poisons the lock. That campaign reports its failure itself, so others may go on.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of the first input, and how many inputs are read: `GNR_FUZZ_FROM` (default 0) and `GNR_FUZZ_EXECUTIONS`
/// (default `usual`) of the environment.
///
/// # Panics
/// When one of these variables is set, but not to a whole number.
pub fn executions(usual: u64) -> (u64, u64) {
    let number = |name: &str, usual: u64| {
        std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
    };
    (number("GNR_FUZZ_FROM", 0), number("GNR_FUZZ_EXECUTIONS", usual))
}

/// The inputs and the limits of one parser.
pub struct Campaign<'a> {
    /// Name of the campaign in messages, and of the file of its corpus.
    pub name: &'static str,
    /// Valid inputs, which the parser must accept.
    pub seeds: Vec<Vec<u8>>,
    /// Words of the format, which damage inserts.
    pub pieces: &'a [&'a [u8]],
    /// The last change of a generated input, given a random number. For example, `pack` puts the input into a container
    /// whose checksum is computed after the damage. Default: no change.
    pub pack: fn(Vec<u8>, u64) -> Vec<u8>,
    /// The number of bytes that an input stands for: its own and those that it decompresses to. Default: its length.
    pub justified: fn(&[u8]) -> usize,
    /// Bytes of memory allowed for each byte that an input stands for. Default: 8.
    pub per_byte: usize,
    /// Bytes of memory allowed in addition, whatever the input. Default: 64 KiB.
    pub constant: usize,
    /// The folder of the corpora.
    corpora: PathBuf,
}

/// The inputs that had one outcome: how many there were, and the smallest of them.
struct Seen {
    times: u64,
    smallest: Vec<u8>,
}

impl<'a> Campaign<'a> {
    /// A campaign with the default limits, whose corpus is the file `NAME.txt` in the folder `corpora`.
    pub fn new(name: &'static str, corpora: &Path, seeds: Vec<Vec<u8>>, pieces: &'a [&'a [u8]]) -> Self {
        let corpora = corpora.to_path_buf();
        Self {
            name,
            seeds,
            pieces,
            pack: |bytes, _| bytes,
            justified: <[u8]>::len,
            per_byte: 8,
            constant: 1 << 16,
            corpora,
        }
    }

    /// Reads the valid inputs, the corpus and the damaged inputs, and prints how many were accepted. If
    /// `GNR_FUZZ_CORPUS` is set, the corpus is then written anew.
    ///
    /// `memory` is the global allocator. An error of `read` is the message that a user would see.
    ///
    /// # Panics
    /// When a valid input is refused, or an input exceeds a limit ([`Limits::watch`]). When an input of the corpus has
    /// a new outcome, unless the corpus is written anew. When a campaign of 1000 damaged inputs or more accepts all of
    /// its inputs, or none. When the corpus cannot be read or written.
    pub fn run(&self, memory: &PeakAlloc, mut read: impl FnMut(&[u8]) -> Result<(), String>) {
        let _alone = alone();
        let path = self.corpora.join(format!("{}.txt", self.name));
        let writes = std::env::var_os("GNR_FUZZ_CORPUS").is_some();
        let corpus = corpus::read(&path);
        let mut seen: HashMap<String, Seen> = HashMap::new();
        let (mut found, mut most) = (String::new(), 0.0f64);
        for seed in &self.seeds {
            self.check(memory, seed, "a valid input", &mut read, &mut found, &mut most);
            assert_eq!(found, ACCEPTED, "{}: a valid input of {} bytes is refused", self.name, seed.len());
        }
        for (outcome, bytes) in &corpus {
            self.check(memory, bytes, outcome, &mut read, &mut found, &mut most);
            assert!(
                writes || found == *outcome,
                "{}: the corpus has an input with the outcome\n  {outcome}\nwhich is now\n  {found}\nIf that is meant, GNR_FUZZ_CORPUS=1 \
                 writes the corpus anew",
                path.display()
            );
            note(&mut seen, &found, bytes);
        }
        let pool: Vec<&[u8]> =
            self.seeds.iter().map(Vec::as_slice).chain(corpus.iter().map(|entry| &entry.1[..])).collect();
        let (from, executions) = executions(USUAL);
        let (before, start) = (seen.len(), Instant::now());
        for execution in from..from + executions {
            let bytes = self.input(execution, &pool);
            let name = format!("input {execution}");
            self.check(memory, &bytes, &name, &mut read, &mut found, &mut most);
            note(&mut seen, &found, &bytes);
            if (execution + 1) % 1_000_000 == 0 {
                println!("{}: {} inputs, {} outcomes", self.name, execution + 1 - from, seen.len());
            }
        }
        let all: u64 = seen.values().map(|seen| seen.times).sum();
        let accepted = seen.get(ACCEPTED).map_or(0, |seen| seen.times);
        println!(
            "{}: {executions} inputs in {:.1?}, {accepted} accepted, {} outcomes ({before} known), {most:.2} bytes of memory a byte above \
             the constant",
            self.name,
            start.elapsed(),
            seen.len()
        );
        if writes {
            self.write(&path, seen, memory, &mut read);
        }
        assert!(
            executions < 1000 || (accepted > 0 && accepted < all),
            "{}: {accepted} of {all} inputs were accepted: expected some that are and some that are not",
            self.name
        );
    }

    /// Input number `execution`. Of 400 inputs about 398 are damaged, one is a bomb and one is left as it was.
    fn input(&self, execution: u64, pool: &[&[u8]]) -> Vec<u8> {
        let mut random = Random::new(execution);
        // Half of the inputs begin as seeds: these are few beside the corpus, and get furthest into the parser.
        let number = if random.below(2) == 0 { self.seeds.len() } else { pool.len() };
        let valid = pool[random.below(number)];
        let bytes = match random.below(400) {
            0 if !self.pieces.is_empty() => {
                let most = if random.below(16) == 0 { 1 << 20 } else { 1 << 13 };
                let start = random.below(valid.len().min(200) + 1);
                bomb(valid, start, most, &mut random, self.pieces)
            }
            1 => valid.to_vec(),
            _ => damage(valid.to_vec(), &mut random, self.pieces, pool),
        };
        (self.pack)(bytes, random.word())
    }

    /// Reads an input under the limits. Writes its outcome to `found`, and raises `most` to its memory a byte.
    fn check(
        &self,
        memory: &PeakAlloc,
        bytes: &[u8],
        name: &str,
        read: &mut impl FnMut(&[u8]) -> Result<(), String>,
        found: &mut String,
        most: &mut f64,
    ) {
        let limits = Limits { per_byte: self.per_byte, constant: self.constant };
        let name = format!("{}, {name}", self.name);
        let justified = || (self.justified)(bytes);
        let (done, taken) = limits.watch(memory, (&name, bytes), justified, || read(bytes));
        *most = most.max(taken);
        match done {
            Ok(()) => ACCEPTED.clone_into(found),
            Err(message) => outcome(&message, found),
        }
    }

    /// Writes the corpus: for each refusal the smallest input that was seen, shortened further.
    fn write(
        &self,
        path: &Path,
        seen: HashMap<String, Seen>,
        memory: &PeakAlloc,
        read: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) {
        let mut entries: Vec<Entry> = Vec::new();
        for (words, Seen { smallest, .. }) in seen.into_iter().filter(|(words, _)| words != ACCEPTED) {
            let (mut found, mut most) = (String::new(), 0.0);
            let smallest = corpus::minimise(smallest, |bytes| {
                self.check(memory, bytes, "a smaller input", read, &mut found, &mut most);
                found == words
            });
            entries.push((words, smallest));
        }
        corpus::write(path, &entries);
    }
}

fn note(seen: &mut HashMap<String, Seen>, outcome: &str, bytes: &[u8]) {
    // Accepted inputs are counted even if there is no room for another outcome.
    let room = seen.len() < MOST_OUTCOMES || outcome == ACCEPTED;
    match seen.get_mut(outcome) {
        Some(seen) => {
            seen.times += 1;
            if bytes.len() < seen.smallest.len() {
                seen.smallest = bytes.to_vec();
            }
        }
        None if room => {
            seen.insert(outcome.to_owned(), Seen { times: 1, smallest: bytes.to_vec() });
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// Reads a length byte and as many other bytes. `fault` names the fault that the reader is to have.
    fn read(bytes: &[u8], fault: &str) -> Result<(), String> {
        let (&length, rest) = bytes.split_first().ok_or("empty")?;
        match fault {
            "panic" if length == 0 => panic!("division by zero"),
            "memory" if length > 200 => drop(std::hint::black_box(vec![1u8; 1 << 20])),
            _ => {}
        }
        if rest.len() == usize::from(length) {
            Ok(())
        } else {
            Err(format!("expected {length} bytes, found {}", rest.len()))
        }
    }

    #[global_allocator]
    static MEMORY: PeakAlloc = PeakAlloc;

    fn campaign(fault: &str) -> Result<(), String> {
        let home = std::env::temp_dir().join(format!("gnr-fuzz-test-{}", std::process::id()));
        let campaign = Campaign::new("lengths", &home, vec![b"\x03abc".to_vec()], &[b"x"]);
        catch_unwind(AssertUnwindSafe(|| campaign.run(&MEMORY, |bytes| read(bytes, fault))))
            .map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
    }

    #[test]
    fn faults_are_found() {
        assert_eq!(campaign(""), Ok(()));
        for (fault, words) in [("panic", "panicked"), ("memory", "bytes of memory")] {
            let error = campaign(fault).err().unwrap_or_default();
            assert!(error.contains(words), "{fault}: {error}");
        }
    }
}
