// What the units of attention and of the cache share.
`default_nettype none
package acc_unit_pkg;
  localparam int unsigned LineW = 22;       // bits of the address of one of acc_pkg::ChannelLines lines
  localparam int unsigned SineCycles = 11;  // of acc_sine

  typedef enum logic [1:0] {OpAdd = 2'd0, OpMul = 2'd1, OpDiv = 2'd2, OpInt = 2'd3} op_e;  // acc_fp_op

  typedef enum logic [1:0] {TurnRotate = 2'd0, TurnMean = 2'd1, TurnTransform = 2'd2} turn_e;  // acc_head_turn

  // Parts of the cache, in attention's order (src/accel/cache_map.h).
  typedef enum logic [1:0] {PartSinks = 2'd0, PartRing = 2'd1, PartNear = 2'd2} part_e;

  // How acc_kv_quant makes codes.
  typedef enum logic [1:0] {CodeEight = 2'd0, CodeValue = 2'd1, CodeKey = 2'd2} code_e;

  // The registers that the units take: geometry, and arguments of the run.
  typedef struct packed {
    logic [31:0] heads, kv_heads, head_dim, page, sinks, window, nears, kv_bits, ring_pages, near_positions;
    logic [63:0] position;
    logic [31:0] ring_page, near_slot, rope, attention_scale;
  } settings_t;

  // Where a layer's keys and values lie (acc_cache_plan).
  typedef struct packed {
    logic [8:0]         dims;         // head_dim padded to 32
    logic [5:0]         spread;       // channels of a KV head
    logic [10:0]        group;        // query heads of a KV head
    logic [14:0]        kv_floats;    // of a token's keys
    logic [6:0]         block4;       // lines of a block of 16 keys or values at 4 bits
    logic [6:0]         block8;       // at 8 bits
    logic [3*LineW-1:0] keys;         // lines from a head's start, by part
    logic [3*LineW-1:0] values;
    logic [LineW-1:0]   head_lines;
    logic [39:0]        layer_lines;
  } map_t;

  // Floats.
  localparam logic [31:0] One = 32'h3f800000;
  localparam logic [31:0] MinusOne = 32'hbf800000;

  // A code of 4 bits less its zero, as a float.
  function automatic logic [31:0] small_float(input logic signed [4:0] x);
    logic [3:0] magnitude;
    magnitude = 4'(x < 5'sd0 ? -x : x);
    casez (magnitude)
      4'b1???: small_float = {x[4], 8'd130, magnitude[2:0], 20'd0};
      4'b01??: small_float = {x[4], 8'd129, magnitude[1:0], 21'd0};
      4'b001?: small_float = {x[4], 8'd128, magnitude[0], 22'd0};
      4'b0001: small_float = {x[4], 8'd127, 23'd0};
      default: small_float = 32'd0;
    endcase
  endfunction
endpackage
`default_nettype wire
