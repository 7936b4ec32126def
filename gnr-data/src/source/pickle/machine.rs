//! The stack machine that runs a pickle: it builds values and calls nothing.

use std::collections::HashMap;
use std::ops::Range;

use super::super::fault::{Fault, Malformed};
use super::super::kind::what_is;
use super::super::text::excerpt_of;
use super::{Form, Id, Result, Value};

/// Longest name of a function with its module's. A name may be shared, and each use copies it.
const MAX_NAME: usize = 256;

/// Runs the program `bytes`. Returns the values that it makes and the index of its result.
pub(super) fn run(bytes: &[u8]) -> Result<(Vec<Value>, Id)> {
    let mut machine = Machine {
        bytes,
        at: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        left: 4096 + bytes.len() / 64,
    };
    let root = machine.run()?;
    Ok((machine.values, root))
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Number of operations that may still be run. Each takes a bounded number of bytes of memory, so all of them take
    /// a bounded multiple of the file's size. A batch has a few operations for each image of 3,072 bytes.
    left: usize,
}

impl<'a> Machine<'a> {
    fn fail<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(Malformed { offset: self.at, reason: reason.into(), fault: Fault::Damaged })
    }

    fn unknown<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(Malformed { offset: self.at, reason: reason.into(), fault: Fault::Unknown })
    }

    fn take(&mut self, count: u64) -> Result<Range<usize>> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        match end.filter(|&end| end <= self.bytes.len()) {
            Some(end) => Ok(std::mem::replace(&mut self.at, end)..end),
            None => self.fail(format!("{count} bytes are declared, {} are left", self.bytes.len() - self.at)),
        }
    }

    /// A little-endian number of `N` bytes.
    fn number<const N: usize>(&mut self) -> Result<u64> {
        let range = self.take(N as u64)?;
        Ok(self.bytes[range].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn line(&mut self) -> Result<Range<usize>> {
        match self.bytes[self.at..].iter().position(|&byte| byte == b'\n') {
            Some(length) => {
                let line = self.at..self.at + length;
                self.at += length + 1;
                Ok(line)
            }
            None => self.fail("a line does not end"),
        }
    }

    fn text(&self, range: Range<usize>) -> String {
        String::from_utf8_lossy(&self.bytes[range]).into_owned()
    }

    fn integer(&mut self) -> Result<u64> {
        let line = self.line()?;
        let line = &self.bytes[line];
        let digits = line.iter().rposition(|&byte| byte != b'L').map_or(&[][..], |last| &line[..=last]);
        match std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok()) {
            Some(value) => Ok(value as u64),
            None => self.fail(format!("`{}` is not an integer", excerpt_of(line))),
        }
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id> {
        // Values below a mark do not belong to this operation.
        match self.stack.len() > self.marks.last().copied().unwrap_or(0) {
            true => self.stack.pop().map_or_else(|| self.fail("the stack is empty"), Ok),
            false => self.fail("the stack is empty"),
        }
    }

    fn top(&self) -> Result<Id> {
        self.stack.last().copied().map_or_else(|| self.fail("the stack is empty"), Ok)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => self.fail("no mark"),
        }
    }

    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        let list = self.top()?;
        match &mut self.values[list] {
            Value::List(list) => list.extend(items),
            _ => return self.fail("items for something that is not a list"),
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<Id>) -> Result<()> {
        let dict = self.top()?;
        if !items.len().is_multiple_of(2) {
            return self.fail("a key without a value");
        }
        match &mut self.values[dict] {
            Value::Dict(dict) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return self.fail("keys for something that is not a dictionary"),
        }
        Ok(())
    }

    fn tuple(&mut self, count: usize) -> Result<()> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        self.push(Value::Tuple(items));
        Ok(())
    }

    fn remember(&mut self, key: u64) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<()> {
        match self.memo.get(&key) {
            Some(&id) => self.stack.push(id),
            None => return self.fail(format!("nothing was kept as {key}")),
        }
        Ok(())
    }

    fn run(&mut self) -> Result<Id> {
        if self.bytes.is_empty() {
            return self.unknown("not a pickle but an empty file");
        }
        loop {
            let code = self.take(1)?;
            let code = self.bytes[code.start];
            self.left = match self.left.checked_sub(1) {
                Some(left) => left,
                None => return self.unknown("more objects than a batch of images has"),
            };
            match code {
                b'.' => return self.pop(),
                // Opcode PROTO, the protocol.
                0x80 => {
                    self.take(1)?;
                }
                // Opcode FRAME, a frame.
                0x95 => {
                    self.take(8)?;
                }
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),
                b'2' => self.stack.push(self.top()?),
                b'N' => self.push(Value::Other),
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Other);
                }
                b'F' => {
                    self.line()?;
                    self.push(Value::Other);
                }
                0x88 => self.push(Value::Int(1)),
                0x89 => self.push(Value::Int(0)),
                b'I' | b'L' => {
                    let value = self.integer()?;
                    self.push(Value::Int(value as i64));
                }
                b'J' => {
                    let value = self.number::<4>()? as u32;
                    self.push(Value::Int((value as i32).into()));
                }
                b'K' => {
                    let value = self.number::<1>()?;
                    self.push(Value::Int(value as i64));
                }
                b'M' => {
                    let value = self.number::<2>()?;
                    self.push(Value::Int(value as i64));
                }
                0x8a => {
                    let length = self.number::<1>()?;
                    let range = self.take(length)?;
                    let value = match &self.bytes[range] {
                        digits @ ([] | [_] | [_, .., _]) if digits.len() <= 8 => {
                            let negative = digits.last().is_some_and(|&byte| byte >= 0x80);
                            let extended = if negative { -1i64 } else { 0 };
                            Value::Int(
                                digits
                                    .iter()
                                    .rev()
                                    .fold(extended, |value, &byte| value << 8 | i64::from(byte)),
                            )
                        }
                        _ => Value::Other,
                    };
                    self.push(value);
                }
                b'S' => {
                    let line = self.line()?;
                    let quoted = &self.bytes[line.clone()];
                    let plain = quoted.len() >= 2
                        && matches!(quoted[0], b'\'' | b'"')
                        && quoted.last() == quoted.first();
                    if !plain {
                        return self.fail("a string that is not quoted");
                    }
                    self.push(Value::Bytes(line.start + 1..line.end - 1, Form::Quoted));
                }
                b'V' => {
                    let line = self.line()?;
                    self.push(Value::Bytes(line, Form::Escaped));
                }
                b'U' | b'C' | 0x8c => {
                    let length = self.number::<1>()?;
                    self.string(length)?;
                }
                b'T' | b'B' | b'X' => {
                    let length = self.number::<4>()?;
                    self.string(length)?;
                }
                0x8d | 0x8e | 0x96 => {
                    let length = self.number::<8>()?;
                    self.string(length)?;
                }
                b']' => self.push(Value::List(Vec::new())),
                b')' => self.push(Value::Tuple(Vec::new())),
                b'}' => self.push(Value::Dict(Vec::new())),
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(vec![key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set(items)?;
                }
                b'l' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::List(items));
                }
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items));
                }
                b'd' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Dict(Vec::new()));
                    self.set(items)?;
                }
                0x85..=0x87 => self.tuple(usize::from(code - 0x84))?,
                b'p' => {
                    let key = self.integer()?;
                    self.remember(key)?;
                }
                b'q' => {
                    let key = self.number::<1>()?;
                    self.remember(key)?;
                }
                b'r' => {
                    let key = self.number::<4>()?;
                    self.remember(key)?;
                }
                0x94 => self.remember(self.memo.len() as u64)?,
                b'g' => {
                    let key = self.integer()?;
                    self.recall(key)?;
                }
                b'h' => {
                    let key = self.number::<1>()?;
                    self.recall(key)?;
                }
                b'j' => {
                    let key = self.number::<4>()?;
                    self.recall(key)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    if module.len() + name.len() > MAX_NAME {
                        return self.unknown("a name of a function that is no name");
                    }
                    self.push(Value::Global(format!("{} {}", self.text(module), self.text(name))));
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    match (&self.values[module], &self.values[name]) {
                        (Value::Bytes(module, _), Value::Bytes(name, _))
                            if module.len() + name.len() <= MAX_NAME =>
                        {
                            let global = format!("{} {}", self.text(module.clone()), self.text(name.clone()));
                            self.push(Value::Global(global));
                        }
                        _ => return self.fail("a global without a name"),
                    }
                }
                b'R' | 0x81 => {
                    let (arguments, callable) = (self.pop()?, self.pop()?);
                    let ordered = matches!(&self.values[callable], Value::Global(name) if name == "collections OrderedDict");
                    if ordered && matches!(&self.values[arguments], Value::Tuple(items) if items.is_empty()) {
                        self.push(Value::Dict(Vec::new()));
                        continue;
                    }
                    self.push(Value::Object { callable, arguments, state: None });
                }
                b'b' => {
                    let given = self.pop()?;
                    let object = self.top()?;
                    match &mut self.values[object] {
                        Value::Object { state, .. } => *state = Some(given),
                        _ => return self.fail("a state for something that is not an object"),
                    }
                }
                _ if self.at == 1 => {
                    return self.unknown(format!("not a pickle but {}", what_is(self.bytes)));
                }
                _ => return self.unknown(format!("operation 0x{code:02x} has no place in a file of images")),
            }
        }
    }

    fn string(&mut self, length: u64) -> Result<()> {
        let range = self.take(length)?;
        self.push(Value::Bytes(range, Form::Plain));
        Ok(())
    }
}
