package org.tinyaya.demo.bundle

/** A tree of JSON in, a [Manifest] out; keys that are not known are left alone. */
internal object ManifestParser {
    fun manifest(raw: Any?): Manifest {
        val root = Node.of(raw, "manifest")
        return Manifest(
            engine = root.text("engine"),
            program = root.text("program"),
            model = model(root.node("model")),
            recipe = root.node("recipe").raw,
            limits = root.node("limits").let { Limits(it.int("context"), it.int("chunk")) },
            cache = root.items("cache") { item, where -> cache(Node.of(item, where)) },
            tokens = tokens(root.node("tokens")),
            sampling = sampling(root.node("sampling")),
            preamble = root.optional("preamble")?.let { preamble(Node.of(it, "manifest.preamble")) },
            files = root.node("files").let { files -> files.raw.keys.associateWith { entry(files.node(it)) } },
            versions = root.node("versions").raw,
            quality = root.optional("quality")?.let { Node.of(it, "manifest.quality").raw },
            languages = languages(root.optional("vocabulary")),
        )
    }

    /** The languages that a cut vocabulary was cut to; null where it is whole. */
    private fun languages(vocabulary: Any?): List<String>? =
        ((vocabulary as? Map<*, *>)?.get("languages") as? List<*>)?.filterIsInstance<String>()

    private fun model(node: Node) =
        ModelInfo(
            modelType = node.text("model_type"),
            layers = node.int("layers"),
            width = node.int("width"),
            heads = node.int("heads"),
            kvHeads = node.int("kv_heads"),
            headDim = node.int("head_dim"),
            vocabSize = node.int("vocab_size"),
            window = node.optional("window")?.let { node.int("window") },
            parameters = node.long("parameters"),
        )

    private fun cache(node: Node) =
        CacheShape(
            slots = node.int("slots"),
            kvHeads = node.int("kv_heads"),
            headDim = node.int("head_dim"),
            dtype = if ("dtype" in node.raw) node.text("dtype") else "float32",
        )

    private fun tokens(node: Node) =
        TokenIds(
            bos = node.int("bos"),
            pad = node.int("pad"),
            stop = node.ints("stop"),
            unused =
                node.items("unused") { item, where ->
                    val pair = (item as? List<*>) ?: throw node.wrong(where, item, "a list")
                    if (pair.size != 2) throw ManifestError("$where has ${pair.size} items; expected 2")
                    node.int(pair[0], "$where[0]") to node.int(pair[1], "$where[1]")
                },
        )

    private fun sampling(node: Node) =
        SamplingDefaults(node.number("temperature"), node.int("top_k"), node.number("top_p"))

    private fun preamble(node: Node) =
        Preamble(node.ints("ids"), node.optional("file")?.let { node.text("file") })

    private fun entry(node: Node) = FileEntry(node.long("bytes"), node.text("sha256"))
}

/** A JSON object that knows where it is, for errors that name the key. */
internal class Node private constructor(val raw: Map<String, Any?>, private val where: String) {
    fun optional(key: String): Any? = raw[key]

    fun node(key: String): Node = of(required(key), "$where.$key")

    fun text(key: String): String =
        required(key) as? String ?: throw wrong("$where.$key", raw[key], "a string")

    fun long(key: String): Long =
        required(key) as? Long ?: throw wrong("$where.$key", raw[key], "an integer")

    fun int(key: String): Int = int(required(key), "$where.$key")

    fun int(value: Any?, name: String): Int =
        (value as? Long)?.takeIf { it == it.toInt().toLong() }?.toInt()
            ?: throw wrong(name, value, "an integer of 32 bits")

    fun number(key: String): Double =
        (required(key) as? Number)?.toDouble() ?: throw wrong("$where.$key", raw[key], "a number")

    fun ints(key: String): List<Int> = items(key) { item, name -> int(item, name) }

    fun <T> items(key: String, read: (Any?, String) -> T): List<T> {
        val found = required(key) as? List<*> ?: throw wrong("$where.$key", raw[key], "a list")
        return found.mapIndexed { index, item -> read(item, "$where.$key[$index]") }
    }

    fun wrong(name: String, value: Any?, expected: String) =
        ManifestError("$name is ${value.toString().take(60)}; expected $expected")

    private fun required(key: String): Any? {
        if (key !in raw) throw ManifestError("$where has no key '$key'; export the bundle again")
        return raw[key]
    }

    companion object {
        @Suppress("UNCHECKED_CAST") // JsonReader's objects have only strings as keys
        fun of(value: Any?, where: String): Node =
            Node(
                value as? Map<String, Any?>
                    ?: throw ManifestError("$where is ${value.toString().take(60)}; expected an object"),
                where,
            )
    }
}
