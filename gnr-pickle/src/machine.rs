//! The stack machine of pickles. Each pickle is a program for it.

use std::collections::HashMap;

use crate::{
    budget::{Budget, Exhausted},
    input::{Input, Malformed, Problem, Result},
    value::{Arena, Encoding, Id, Object, Pickle, Sequence, Span, Value},
};

/// Parses the pickle at the start of `bytes`; [`Pickle::end`] says where it ends.
///
/// # Errors
/// [`Malformed`] where the pickle ends early, has an operation that cannot be there, or takes more than the budget.
///
/// # Cost
/// Linear in the length of the pickle. The budget gets back little of what was taken.
pub fn parse<'a>(bytes: &'a [u8], budget: &mut Budget) -> Result<Pickle<'a>> {
    let mut machine = Machine {
        input: Input { bytes, at: 0 },
        budget,
        values: Arena::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        scattered: HashMap::new(),
    };
    // The first values have constants in `Id`.
    let empty = Value::Sequence(Sequence::Tuple, Vec::new());
    for value in [Value::Other, Value::Bool(true), Value::Bool(false), empty] {
        machine.make(value)?;
    }
    let root = machine.run()?;
    let (values, end) = (machine.values, machine.input.at);
    Ok(Pickle { bytes, values, root, end })
}

struct Machine<'a, 'b> {
    input: Input<'a>,
    budget: &'b mut Budget,
    values: Arena,
    stack: Vec<Id>,
    /// Heights of the stack at its marks.
    marks: Vec<usize>,
    /// Values that were stored under 0, 1, 2, …, as Python 3 counts.
    memo: Vec<Id>,
    /// Values that were stored under other numbers.
    scattered: HashMap<u64, Id>,
}

impl Machine<'_, '_> {
    fn afford<T>(&self, result: std::result::Result<T, Exhausted>) -> Result<T> {
        result.map_err(|Exhausted| Malformed { offset: self.input.at, problem: Problem::TooLarge })
    }

    fn make(&mut self, value: Value) -> Result<Id> {
        let Some(id) = Id::index(self.values.len()) else { return self.input.invalid("too many objects") };
        let pushed = self.values.push(value, self.budget);
        self.afford(pushed)?;
        Ok(id)
    }

    fn push_id(&mut self, id: Id) -> Result<()> {
        let pushed = self.budget.push(&mut self.stack, id);
        self.afford(pushed)
    }

    fn push(&mut self, value: Value) -> Result<()> {
        let id = self.make(value)?;
        self.push_id(id)
    }

    fn push_int(&mut self, value: i64) -> Result<()> {
        match Id::number(value) {
            Some(id) => self.push_id(id),
            None => self.push(Value::Int(value)),
        }
    }

    fn bottom(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    /// Takes the topmost value. Values below the last mark belong to other operations.
    fn pop(&mut self) -> Result<Id> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn top(&self) -> Result<Id> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.bottom() => Ok(id),
            _ => self.input.invalid("an operation finds nothing to work on"),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => {
                let taken = self.budget.take((self.stack.len() - mark) * size_of::<Id>());
                self.afford(taken)?;
                Ok(self.stack.split_off(mark))
            }
            _ => self.input.invalid("an operation finds no mark"),
        }
    }

    /// Gives back a vector of [`pop_to_mark`](Self::pop_to_mark) that nothing keeps.
    fn release(&mut self, items: &[Id]) {
        self.budget.give(size_of_val(items));
    }

    fn value(&mut self, id: Id) -> Option<&mut Value> {
        id.position().and_then(|index| self.values.get_mut(index))
    }

    fn append(&mut self, items: &[Id]) -> Result<()> {
        let target = self.top()?;
        let Some(index) = target.position() else { return self.input.invalid("items are added to a number") };
        let reserved = match self.values.get_mut(index) {
            Some(Value::Sequence(Sequence::List | Sequence::Set, list)) => {
                self.budget.reserve(list, items.len()).map(|()| list.extend_from_slice(items))
            }
            Some(Value::Object(object)) => object.contents(self.budget).and_then(|contents| {
                self.budget.reserve(&mut contents.items, items.len())?;
                contents.items.extend_from_slice(items);
                Ok(())
            }),
            _ => return self.input.invalid("items are added to what is not a list"),
        };
        self.afford(reserved)
    }

    fn set(&mut self, items: &[Id]) -> Result<()> {
        if !items.len().is_multiple_of(2) {
            return self.input.invalid("a key without a value");
        }
        let target = self.top()?;
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        let Some(index) = target.position() else { return self.input.invalid("a key is set in a number") };
        let reserved = match self.values.get_mut(index) {
            Some(Value::Dict(dict)) => self.budget.reserve(dict, pairs.len()).map(|()| dict.extend(pairs)),
            Some(Value::Object(object)) => object.contents(self.budget).and_then(|contents| {
                self.budget.reserve(&mut contents.pairs, pairs.len())?;
                contents.pairs.extend(pairs);
                Ok(())
            }),

            _ => return self.input.invalid("a key is set in what is not a dictionary"),
        };
        self.afford(reserved)
    }

    fn call(&mut self, callable: Id, arguments: Id) -> Result<()> {
        self.push(Value::Object(Object::new(callable, arguments)))
    }

    fn build(&mut self) -> Result<()> {
        let (given, target) = (self.pop()?, self.top()?);
        match self.value(target) {
            Some(Value::Object(object)) => {
                // Only the class knows what a second state leaves of the first, so neither is reported.
                object.state = Some(if object.state.is_none() { given } else { Id::OTHER });
                Ok(())
            }
            // The state sets attributes of a class, which are ignored.
            Some(Value::Global(..) | Value::Extension(_)) => Ok(()),
            _ => self.input.invalid("a state is given to what is not an object"),
        }
    }

    fn remember(&mut self, key: u64) -> Result<()> {
        let id = self.top()?;
        if let Some(slot) = usize::try_from(key).ok().and_then(|key| self.memo.get_mut(key)) {
            *slot = id;
        } else if key == self.memo.len() as u64 {
            let pushed = self.budget.push(&mut self.memo, id);
            self.afford(pushed)?;
        } else {
            // Twice an entry and its mark, because hash tables double as they grow.
            let taken = self.budget.take(64);
            self.afford(taken)?;
            self.scattered.insert(key, id);
        }
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<()> {
        let near = usize::try_from(key).ok().and_then(|key| self.memo.get(key));
        match near.or_else(|| self.scattered.get(&key)).copied() {
            Some(id) => self.push_id(id),
            None => self.input.invalid(format!("nothing was kept as {key}")),
        }
    }

    fn long(&mut self, length: u64) -> Result<()> {
        let span = self.input.take(length)?;
        let digits = self.input.slice(span);
        if digits.len() > 8 {
            return self.push(Value::Long(span));
        }
        let negative = digits.last().is_some_and(|&byte| byte >= 0x80);
        let start = if negative { -1i64 } else { 0 };
        let value = digits.iter().rev().fold(start, |value, &byte| value << 8 | i64::from(byte));
        self.push_int(value)
    }

    fn text(&mut self, length: u64) -> Result<()> {
        let span = self.input.take(length)?;
        self.push(Value::Text(span, Encoding::Plain))
    }

    fn bytes(&mut self, length: u64) -> Result<()> {
        let span = self.input.take(length)?;
        self.push(Value::Bytes(span))
    }

    fn tuple(&mut self, length: usize) -> Result<()> {
        let start = self.stack.len().checked_sub(length).filter(|&start| start >= self.bottom());
        let Some(start) = start else { return self.input.invalid("a tuple finds too few items") };
        let taken = self.budget.take(length * size_of::<Id>());
        self.afford(taken)?;
        let items = self.stack.split_off(start);
        self.push(Value::Sequence(Sequence::Tuple, items))
    }

    fn stack_global(&mut self) -> Result<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        let span = |machine: &Self, id: Id| match id.position().and_then(|index| machine.values.get(index)) {
            Some(Value::Text(span, Encoding::Plain)) => Some(*span),
            _ => None,
        };
        match (span(self, module), span(self, name)) {
            (Some(module), Some(name)) => self.push(Value::Global(module, name)),
            _ => self.input.invalid("a class without a name"),
        }
    }

    fn run(&mut self) -> Result<Id> {
        loop {
            let code = self.input.number(1)? as u8;
            match code {
                b'.' => return self.pop(),
                // Protocol and frame: nothing depends on them.
                0x80 | 0x95 => {
                    self.input.take(if code == 0x80 { 1 } else { 8 })?;
                }
                b'(' => {
                    let pushed = self.budget.push(&mut self.marks, self.stack.len());
                    self.afford(pushed)?;
                }
                // A mark is popped as a value is.
                b'0' if !self.marks.is_empty() && self.stack.len() == self.bottom() => {
                    self.marks.pop();
                }
                b'0' => {
                    self.pop()?;
                }
                b'1' => {
                    let items = self.pop_to_mark()?;
                    self.release(&items);
                }
                b'2' => self.push_id(self.top()?)?,
                b'N' => self.push_id(Id::OTHER)?,
                b'G' => {
                    self.input.take(8)?;
                    self.push_id(Id::OTHER)?;
                }
                b'F' => {
                    self.input.line()?;
                    self.push_id(Id::OTHER)?;
                }
                0x88 => self.push_id(Id::TRUE)?,
                0x89 => self.push_id(Id::FALSE)?,
                // Protocol 0 writes booleans as 01 and 00.
                b'I' => match self.input.bytes.get(self.input.at..self.input.at + 3) {
                    Some(b"01\n") => {
                        self.input.at += 3;
                        self.push_id(Id::TRUE)?;
                    }
                    Some(b"00\n") => {
                        self.input.at += 3;
                        self.push_id(Id::FALSE)?;
                    }
                    _ => self.decimal_value()?,
                },
                b'L' => self.decimal_value()?,
                b'J' => {
                    let value = self.input.number(4)? as u32;
                    self.push_int((value as i32).into())?;
                }
                b'K' => {
                    let value = self.input.number(1)?;
                    self.push_int(value as i64)?;
                }
                b'M' => {
                    let value = self.input.number(2)?;
                    self.push_int(value as i64)?;
                }
                0x8a => {
                    let length = self.input.number(1)?;
                    self.long(length)?;
                }
                0x8b => {
                    let length = self.input.number(4)?;
                    self.long(length)?;
                }
                b'S' => {
                    let line = self.input.line()?;
                    match self.input.slice(line).trim_ascii_end() {
                        [b'\'', .., b'\''] | [b'"', .., b'"'] => {}
                        _ => return self.input.invalid("a text without quotes"),
                    }
                    let length = self.input.slice(line).trim_ascii_end().len() as u32;
                    let inside = Span { start: line.start + 1, end: line.start + length - 1 };
                    self.push(Value::Text(inside, Encoding::Quoted))?;
                }
                b'V' => {
                    let line = self.input.line()?;
                    self.push(Value::Text(line, Encoding::RawEscape))?;
                }
                b'U' | 0x8c => {
                    let length = self.input.number(1)?;
                    self.text(length)?;
                }
                b'T' | b'X' => {
                    let length = self.input.number(4)?;
                    self.text(length)?;
                }
                0x8d => {
                    let length = self.input.number(8)?;
                    self.text(length)?;
                }
                b'C' => {
                    let length = self.input.number(1)?;
                    self.bytes(length)?;
                }
                b'B' => {
                    let length = self.input.number(4)?;
                    self.bytes(length)?;
                }
                0x8e | 0x96 => {
                    let length = self.input.number(8)?;
                    self.bytes(length)?;
                }
                b']' => self.push(Value::Sequence(Sequence::List, Vec::new()))?,
                b')' => self.push_id(Id::EMPTY)?,
                0x8f => self.push(Value::Sequence(Sequence::Set, Vec::new()))?,
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_to_mark()?;
                    self.append(&items)?;
                    self.release(&items);
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set(&items)?;
                    self.release(&items);
                }
                b'l' | b't' | 0x91 => {
                    let items = self.pop_to_mark()?;
                    let kind = match code {
                        b'l' => Sequence::List,
                        b't' => Sequence::Tuple,
                        _ => Sequence::Set,
                    };
                    self.push(Value::Sequence(kind, items))?;
                }
                b'd' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Dict(Vec::new()))?;
                    self.set(&items)?;
                    self.release(&items);
                }
                0x85..=0x87 => self.tuple(usize::from(code - 0x84))?,
                b'p' => {
                    let key = self.input.key()?;
                    self.remember(key)?;
                }
                b'q' => {
                    let key = self.input.number(1)?;
                    self.remember(key)?;
                }
                b'r' => {
                    let key = self.input.number(4)?;
                    self.remember(key)?;
                }
                0x94 => self.remember((self.memo.len() + self.scattered.len()) as u64)?,
                b'g' => {
                    let key = self.input.key()?;
                    self.recall(key)?;
                }
                b'h' => {
                    let key = self.input.number(1)?;
                    self.recall(key)?;
                }
                b'j' => {
                    let key = self.input.number(4)?;
                    self.recall(key)?;
                }
                b'c' => {
                    let (module, name) = (self.input.line()?, self.input.line()?);
                    self.push(Value::Global(module, name))?;
                }
                0x93 => self.stack_global()?,
                0x82..=0x84 => {
                    let code = self.input.number(1 << (code - 0x82))?;
                    self.push(Value::Extension(code as u32))?;
                }
                b'P' => {
                    let line = self.input.line()?;
                    let name = self.make(Value::Text(line, Encoding::Plain))?;
                    self.push(Value::Persistent(name))?;
                }
                b'Q' => {
                    let name = self.pop()?;
                    self.push(Value::Persistent(name))?;
                }
                b'R' | 0x81 => {
                    let (arguments, callable) = (self.pop()?, self.pop()?);
                    self.call(callable, arguments)?;
                }
                // The call also has arguments by name, which no reader asks for.
                0x92 => {
                    let (_named, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                    self.call(callable, arguments)?;
                }
                b'i' => {
                    let (module, name) = (self.input.line()?, self.input.line()?);
                    let items = self.pop_to_mark()?;
                    let callable = self.make(Value::Global(module, name))?;
                    let arguments = self.make(Value::Sequence(Sequence::Tuple, items))?;
                    self.call(callable, arguments)?;
                }
                b'o' => {
                    let mut items = self.pop_to_mark()?;
                    if items.is_empty() {
                        return self.input.invalid("an object without a class");
                    }
                    let callable = items.remove(0);
                    let arguments = self.make(Value::Sequence(Sequence::Tuple, items))?;
                    self.call(callable, arguments)?;
                }
                b'b' => self.build()?,
                0x97 | 0x98 => return self.input.unknown("a buffer that is kept outside the file"),
                _ => return self.input.unknown(format!("0x{code:02x} is no operation of a pickle")),
            }
        }
    }

    fn decimal_value(&mut self) -> Result<()> {
        match self.input.decimal()? {
            Some(value) => self.push_int(value),
            None => self.push_id(Id::OTHER),
        }
    }
}
