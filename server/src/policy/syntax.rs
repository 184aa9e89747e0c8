//! A look into the rules as regorus has parsed them.
//!
//! It is regorus' own tree, which it calls unstable: the exact pin of its
//! version keeps it from changing unseen. The walk keeps a list of what is
//! still to be looked at, and so takes no stack however the rules are nested.

use regorus::unstable::{Expr, Literal, LiteralStmt, Module, Query, Rule, RuleBody, RuleHead, Span};

/// A function called, or put in another's place by `with`.
pub(super) struct Call<'a> {
    /// As written, with dots.
    pub(super) path: String,
    /// Where.
    pub(super) span: &'a Span,
}

/// The path of a reference, with dots; of its beginning, where the rest is computed.
pub(super) fn path(reference: &Expr) -> String {
    parts(reference).join(".")
}

fn parts(mut reference: &Expr) -> Vec<String> {
    let mut parts = Vec::new();
    loop {
        match reference {
            Expr::RefDot { refr, field, .. } => {
                parts.push(field.0.text().to_owned());
                reference = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                match index.as_ref() {
                    Expr::String { span, .. } => parts.push(span.text().to_owned()),
                    _ => parts.clear(),
                }
                reference = refr;
            }
            other => {
                parts.push(other.span().text().to_owned());
                break;
            }
        }
    }
    parts.reverse();
    parts
}

/// The module's package, such as `data.congruent`.
pub(super) fn package(module: &Module) -> String {
    format!("data.{}", path(&module.package.refr))
}

/// File, line and column.
pub(super) fn place(span: &Span) -> String {
    format!("{}:{}:{}", span.source.get_path(), span.line, span.col)
}

/// Every call in a rule.
pub(super) fn calls(rule: &Rule) -> Vec<Call<'_>> {
    walk(rule).calls
}

/// Where a module's rules read the input: each place as its path from the input's root, as
/// far as that is not computed.
pub(super) fn inputs(module: &Module) -> Vec<Vec<String>> {
    let imports = module.imports.iter().filter_map(|import| input(&import.refr));
    let rules = module.policy.iter().flat_map(|rule| walk(rule).inputs);
    imports.chain(rules).collect()
}

/// The path of a reference into the input.
fn input(reference: &Expr) -> Option<Vec<String>> {
    let mut parts = parts(reference).into_iter();
    // What is written with an escape is not the name that it stands for.
    (parts.next()? == INPUT).then(|| parts.take_while(|part| !part.contains('\\')).collect())
}

/// What rules call their input.
const INPUT: &str = "input";

fn walk(rule: &Rule) -> Walk<'_> {
    let mut walk = Walk::default();
    match rule {
        Rule::Spec { head, bodies, .. } => {
            walk.head(head);
            bodies.iter().for_each(|body| walk.body(body));
        }
        Rule::Default { args, value, .. } => {
            walk.pending.extend(args.iter().map(AsRef::as_ref));
            walk.pending.push(value);
        }
    }
    while let Some(expression) = walk.pending.pop() {
        walk.expression(expression);
    }
    walk
}

#[derive(Default)]
struct Walk<'a> {
    pending: Vec<&'a Expr>,
    calls: Vec<Call<'a>>,
    inputs: Vec<Vec<String>>,
}

impl<'a> Walk<'a> {
    fn head(&mut self, head: &'a RuleHead) {
        let value = match head {
            RuleHead::Compr { refr, assign, .. } => {
                self.pending.push(refr);
                assign.as_ref().map(|assign| &assign.value)
            }
            RuleHead::Set { refr, key, .. } => {
                self.pending.push(refr);
                key.as_ref()
            }
            RuleHead::Func { args, assign, .. } => {
                self.pending.extend(args.iter().map(AsRef::as_ref));
                assign.as_ref().map(|assign| &assign.value)
            }
        };
        self.pending.extend(value.map(AsRef::as_ref));
    }

    fn body(&mut self, body: &'a RuleBody) {
        self.pending.extend(body.assign.iter().map(|assign| assign.value.as_ref()));
        self.query(&body.query);
    }

    fn query(&mut self, query: &'a Query) {
        // A query nests only by way of an expression or `every`, which the
        // parser bounds.
        query.stmts.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &'a LiteralStmt) {
        for modifier in &statement.with_mods {
            for target in [&modifier.refr, &modifier.r#as] {
                if matches!(target.as_ref(), Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. }) {
                    self.calls.push(Call { path: path(target), span: target.span() });
                }
            }
            // Whoever puts something in the input's place reads what is put there.
            if input(&modifier.refr).is_some() {
                self.inputs.push(Vec::new());
            }
            self.pending.push(&modifier.r#as);
        }
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn { key, value, collection, .. } => {
                self.pending.extend(key.iter().map(AsRef::as_ref));
                self.pending.extend([value.as_ref(), collection.as_ref()]);
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.pending.push(expr),
            Literal::Every { domain, query, .. } => {
                self.pending.push(domain);
                self.query(query);
            }
        }
    }

    /// A place in the input: its beginnings are not read for themselves, what computes the
    /// way to it is.
    fn input(&mut self, mut reference: &'a Expr, read: Vec<String>) {
        self.inputs.push(read);
        loop {
            match reference {
                Expr::RefDot { refr, .. } => reference = refr,
                Expr::RefBrack { refr, index, .. } => {
                    self.pending.push(index);
                    reference = refr;
                }
                _ => return,
            }
        }
    }

    fn expression(&mut self, expression: &'a Expr) {
        match expression {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => {}
            Expr::Var { .. } => self.inputs.extend(input(expression)),
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                self.pending.extend(items.iter().map(AsRef::as_ref));
            }
            Expr::Object { fields, .. } => {
                self.pending.extend(fields.iter().flat_map(|(_, key, value)| [key.as_ref(), value.as_ref()]));
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.pending.push(term);
                self.query(query);
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                self.pending.extend([key.as_ref(), value.as_ref()]);
                self.query(query);
            }
            Expr::Call { span, fcn, params, .. } => {
                self.calls.push(Call { path: path(fcn), span });
                self.pending.extend(params.iter().map(AsRef::as_ref));
            }
            Expr::UnaryExpr { expr, .. } => self.pending.push(expr),
            Expr::RefDot { refr, .. } => match input(expression) {
                Some(read) => self.input(expression, read),
                None => self.pending.push(refr),
            },
            Expr::RefBrack { refr, index, .. } => match input(expression) {
                Some(read) => self.input(expression, read),
                None => self.pending.extend([refr.as_ref(), index.as_ref()]),
            },
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => self.pending.extend([lhs.as_ref(), rhs.as_ref()]),
            Expr::Membership { key, value, collection, .. } => {
                self.pending.extend(key.iter().map(AsRef::as_ref));
                self.pending.extend([value.as_ref(), collection.as_ref()]);
            }
        }
    }
}
