package org.tinyaya.demo.template

/** What a template does, one after the other. */
internal sealed interface Statement

internal class Text(val text: String) : Statement

internal class Output(val value: Expression) : Statement

internal class If(val branches: List<Pair<Expression, List<Statement>>>, val otherwise: List<Statement>) : Statement

internal class For(
    val targets: List<String>,
    val items: Expression,
    val condition: Expression?,
    val body: List<Statement>,
    val otherwise: List<Statement>,
) : Statement

/** `{% set name = value %}`; with an [attribute], of a namespace. */
internal class Assign(val targets: List<String>, val attribute: String?, val value: Expression) : Statement

internal class AssignBlock(val target: String, val body: List<Statement>) : Statement

internal class Macro(val name: String, val parameters: List<Pair<String, Expression?>>, val body: List<Statement>) : Statement

/** `{% generation %}`, by which trainers find answers: what it holds, with names of its own. */
internal class Block(val body: List<Statement>) : Statement

internal class Leave(val again: Boolean) : Statement

/** What has a value. */
internal sealed interface Expression

internal class Literal(val value: Any?) : Expression

internal class Name(val name: String) : Expression

internal class Items(val items: List<Expression>) : Expression

internal class Entries(val entries: List<Pair<Expression, Expression>>) : Expression

internal class Member(val of: Expression, val key: Expression) : Expression

internal class Slice(val of: Expression, val start: Expression?, val end: Expression?, val step: Expression?) : Expression

internal class Arguments(val plain: List<Expression>, val named: Map<String, Expression>)

internal class Call(val callee: Expression, val arguments: Arguments) : Expression

internal class Filter(val of: Expression, val name: String, val arguments: Arguments) : Expression

internal class Test(val of: Expression, val name: String, val arguments: Arguments, val wanted: Boolean) : Expression

internal class Unary(val sign: String, val of: Expression) : Expression

internal class Binary(val sign: String, val left: Expression, val right: Expression) : Expression

internal class Conditional(val condition: Expression, val then: Expression, val otherwise: Expression?) : Expression
