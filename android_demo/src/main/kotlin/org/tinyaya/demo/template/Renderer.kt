package org.tinyaya.demo.template

import org.tinyaya.demo.bundle.ChatTemplateError

/** Names and what they stand for; an inner scope hides and never changes its outer one. */
internal class Scope(private val outer: Scope?) {
    private val values = HashMap<String, Any?>()

    operator fun get(name: String): Any? =
        if (values.containsKey(name)) values[name] else if (outer != null) outer[name] else Undefined(name)

    operator fun set(name: String, value: Any?) {
        values[name] = value
    }
}

/** Statements and a scope in, text out. */
internal class Renderer {
    private enum class After { NEXT, BREAK, CONTINUE }

    private var written = 0
    private var depth = 0

    fun render(body: List<Statement>, scope: Scope): String = StringBuilder().also { run(body, scope, it) }.toString()

    private fun run(body: List<Statement>, scope: Scope, out: StringBuilder): After {
        if (++depth > MAX_DEPTH) throw ChatTemplateError("the chat template is nested more than $MAX_DEPTH deep")
        for (statement in body) {
            val after = run(statement, scope, out)
            if (after != After.NEXT) {
                depth--
                return after
            }
        }
        depth--
        return After.NEXT
    }

    private fun run(statement: Statement, scope: Scope, out: StringBuilder): After {
        when (statement) {
            is Text -> write(statement.text, out)
            is Output -> write(Values.text(value(statement.value, scope)), out)
            is If -> return run(branch(statement, scope), scope, out)
            is For -> loop(statement, scope, out)
            is Assign -> assign(statement, scope)
            is AssignBlock -> scope[statement.target] = StringBuilder().also { run(statement.body, Scope(scope), it) }.toString()
            is Macro -> scope[statement.name] = macro(statement, scope)
            is Block -> return run(statement.body, Scope(scope), out)
            is Leave -> return if (statement.again) After.CONTINUE else After.BREAK
        }
        return After.NEXT
    }

    private fun write(text: String, out: StringBuilder) {
        written += text.length
        if (written > MAX_TEXT) throw ChatTemplateError("the chat template writes more than $MAX_TEXT characters")
        out.append(text)
    }

    private fun branch(statement: If, scope: Scope): List<Statement> =
        statement.branches.firstOrNull { (condition, _) -> Values.isTrue(value(condition, scope)) }?.second ?: statement.otherwise

    private fun loop(statement: For, scope: Scope, out: StringBuilder) {
        val all = Values.items(value(statement.items, scope))
        val items = all.filter { item -> statement.condition?.let { Values.isTrue(value(it, bound(statement, item, scope))) } ?: true }
        if (items.isEmpty()) run(statement.otherwise, scope, out)
        for ((index, item) in items.withIndex()) {
            val inner = bound(statement, item, scope)
            inner["loop"] = loopValues(index, items)
            if (run(statement.body, inner, out) == After.BREAK) return
        }
    }

    private fun bound(statement: For, item: Any?, scope: Scope) = Scope(scope).also { unpack(statement.targets, item, it) }

    private fun loopValues(index: Int, items: List<Any?>): Map<String, Any?> =
        mapOf(
            "index0" to index.toLong(),
            "index" to index + 1L,
            "first" to (index == 0),
            "last" to (index == items.size - 1),
            "length" to items.size.toLong(),
            "revindex" to (items.size - index).toLong(),
            "revindex0" to items.size - index - 1L,
            "previtem" to if (index > 0) items[index - 1] else Undefined("previtem"),
            "nextitem" to if (index + 1 < items.size) items[index + 1] else Undefined("nextitem"),
        )

    private fun assign(statement: Assign, scope: Scope) {
        val value = value(statement.value, scope)
        if (statement.attribute == null) return unpack(statement.targets, value, scope)
        val namespace = scope[statement.targets[0]] as? Namespace
            ?: throw ChatTemplateError("'${statement.targets[0]}' is no namespace, and only those can be changed")
        namespace.values[statement.attribute] = value
    }

    private fun unpack(targets: List<String>, value: Any?, scope: Scope) {
        if (targets.size == 1) {
            scope[targets[0]] = value
            return
        }
        val items = Values.items(value)
        if (items.size != targets.size) throw ChatTemplateError("${items.size} values for ${targets.size} names")
        targets.zip(items).forEach { (name, item) -> scope[name] = item }
    }

    private fun macro(macro: Macro, scope: Scope) =
        Callable { plain, named ->
            val inner = Scope(scope)
            macro.parameters.forEachIndexed { index, (name, default) ->
                inner[name] =
                    when {
                        index < plain.size -> plain[index]
                        name in named -> named[name]
                        else -> default?.let { value(it, inner) } ?: Undefined(name)
                    }
            }
            StringBuilder().also { run(macro.body, inner, it) }.toString()
        }

    private fun value(expression: Expression, scope: Scope): Any? =
        when (expression) {
            is Literal -> expression.value
            is Name -> scope[expression.name]
            is Items -> expression.items.map { value(it, scope) }
            is Entries -> expression.entries.associate { (key, item) -> value(key, scope) to value(item, scope) }
            is Member -> Values.member(value(expression.of, scope), value(expression.key, scope))
            is Slice -> slice(expression, scope)
            is Call -> call(expression, scope)
            is Filter -> {
                val (plain, named) = arguments(expression.arguments, scope)
                Builtins.filter(expression.name, value(expression.of, scope), plain, named)
            }
            is Test -> test(expression, scope)
            is Unary -> unary(expression, scope)
            is Binary -> binary(expression, scope)
            is Conditional -> conditional(expression, scope)
        }

    private fun slice(slice: Slice, scope: Scope): Any =
        Values.slice(value(slice.of, scope), slice.start?.let { value(it, scope) }, slice.end?.let { value(it, scope) }, slice.step?.let { value(it, scope) })

    private fun test(test: Test, scope: Scope): Boolean =
        Builtins.test(test.name, value(test.of, scope), arguments(test.arguments, scope).first) == test.wanted

    private fun conditional(expression: Conditional, scope: Scope): Any? =
        if (Values.isTrue(value(expression.condition, scope))) {
            value(expression.then, scope)
        } else {
            expression.otherwise?.let { value(it, scope) } ?: Undefined("else")
        }

    private fun call(call: Call, scope: Scope): Any? {
        val (plain, named) = arguments(call.arguments, scope)
        val callee = call.callee
        val target =
            if (callee is Member) {
                val of = value(callee.of, scope)
                val name = value(callee.key, scope)
                Builtins.method(of, Values.text(name)) ?: Values.member(of, name)
            } else {
                value(callee, scope)
            }
        return (target as? Callable)?.call(plain, named)
            ?: if (target is Callable) null else throw ChatTemplateError("the chat template calls what is no function of this app")
    }

    private fun arguments(arguments: Arguments, scope: Scope): Pair<List<Any?>, Map<String, Any?>> =
        arguments.plain.map { value(it, scope) } to arguments.named.mapValues { value(it.value, scope) }

    private fun unary(expression: Unary, scope: Scope): Any? {
        val value = value(expression.of, scope)
        if (expression.sign == "not") return !Values.isTrue(value)
        return Operators.apply(expression.sign, 0L, Operators.operand(value))
    }

    private fun binary(expression: Binary, scope: Scope): Any? {
        val left = value(expression.left, scope)
        return when (expression.sign) {
            "and" -> if (Values.isTrue(left)) value(expression.right, scope) else left
            "or" -> if (Values.isTrue(left)) left else value(expression.right, scope)
            else -> Operators.apply(expression.sign, left, value(expression.right, scope))
        }
    }

    private companion object {
        const val MAX_DEPTH = 200
        const val MAX_TEXT = 4_000_000
    }
}
